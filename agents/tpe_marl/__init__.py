"""TPE-MARL (Han et al., arXiv 2507.12110): topology-enhanced QMIX for lane and speed of CAVs, and its rivals.

Methods on ``cosim train``, each an agent (NumPy only: configuration, recipes, acting) and a learner (torch):
``qmix_agent`` (``tpe_marl.qmix`` and ``tpe_marl.tpe_qmix``) with ``qmix_learner`` and ``topology_side``, what TPE adds;
``gat_agent``, ``mappo_agent`` and ``maddpg_agent`` with ``gat_learner``, ``mappo_learner`` and ``maddpg_learner``.
``accelerate`` learns nothing.  ``recurrent_actor`` is what recurrent agents remember, ``team_rows`` how windows are
held, ``recipes`` how trainings go, ``partners`` whom TPE looks at in sumo-gui.

Parts, NumPy only: ``topology`` the game topology tensor, ``visits`` how often one was seen, ``heatmap`` policy
diversity, ``inputs`` what networks are shown, ``graph_policy`` acting of the graph network.  With torch:
``topology_net`` the network that predicts topologies, ``qmix`` mixer and loss, ``gat``, ``actor_critic`` (MAPPO and
MADDPG) the rivals'.  Each is imported by who needs it.  ``reproduce`` lists the paper's items, ``items`` makes them.
"""
