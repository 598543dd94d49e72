"""The network layer: RSU, BS and device-to-device radio, wired links, edge servers, in lockstep with SUMO."""
