"""Real SUMO traffic: the bridge, its demand, and nets.

``sumo`` is the bridge (one class over libsumo and TraCI, see ``backend``; ``programs`` finds SUMO): ``state`` is the
snapshot that it gives each step, ``commands`` are the orders it takes; ``ordering`` tells SUMO, ``roster`` knows who is
on the road.  ``demand`` and ``routes`` say who drives in and where to, ``files`` what SUMO is started with,
``flow_idm`` drives vehicles as Flow does, ``tracks`` records where vehicles were, ``replay`` drives vehicles as GPS
traces say (``replay_plan``), which ``traces`` reads, cleans and matches.  ``nets`` finds nets, ``geometry`` reads them,
``net_build``, ``net_import``, ``graphml`` and ``schematic`` make them; ``gui`` opens sumo-gui and draws in it.
"""
