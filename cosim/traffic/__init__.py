"""Real SUMO traffic: the bridge, its demand, and nets.

``sumo`` is the bridge (one class over libsumo and TraCI, see ``backend``), ``state`` the snapshot it gives each step
and ``commands`` the orders it takes; ``demand`` and ``routes`` say who drives in and where to, ``files`` what SUMO is
started with, ``flow_idm`` drives vehicles as Flow does, ``tracks`` records where vehicles were, ``replay`` drives
vehicles as GPS traces say, which ``traces`` reads, cleans and matches.  ``nets`` finds nets, ``geometry`` reads them,
``net_build``, ``net_import``, ``graphml`` and ``schematic`` make them; ``gui`` draws in sumo-gui.
"""
