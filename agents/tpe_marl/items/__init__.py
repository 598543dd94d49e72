"""The items of ``cosim reproduce tpe_marl``, by what they need.

``fixed`` needs no learnt policy.  ``cells`` knows flows, CAV shares, methods and which policies are shipped;
``grid`` (Fig. 13), ``safety`` and ``methods`` measure them, ``close_ups`` (Figs 14 to 16) looks at single vehicles with
``situations``, which finds the paper's two cases in recorded runs.  ``training`` (Figs 9 and 11) and ``diversity``
(Fig. 12) are about learning.  ``drawings`` has the figures that only these need.
"""
