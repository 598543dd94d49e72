"""TPE-MARL (Han et al., arXiv 2507.12110): topology-enhanced QMIX for lane and speed of CAVs, and its rivals.

NumPy only: ``topology`` the game topology tensor, ``visits`` how often one was seen, ``heatmap`` policy diversity,
``inputs`` what networks are shown, ``graph_policy`` acting of the graph network.  With torch: ``topology_net`` the
network that predicts topologies, ``qmix`` mixer and loss, ``gat``, ``actor_critic`` (MAPPO and MADDPG) the rivals'.
Each is imported by who needs it.
"""
