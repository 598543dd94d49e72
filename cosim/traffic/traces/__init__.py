"""GPS traces: from a raw file of fixes to vehicles on a net.

``reading`` and ``columns`` read a raw file and judge each row, ``cleaning`` judges rows against their neighbours and
cuts tracks into segments (``convert``), ``report`` says what became of every row, ``tables`` writes and reads the
result.  ``roads`` is a net as the matcher sees it, ``matching`` finds the edges that a segment drove along
(``match``), ``paths`` the lane centres along such a route, ``matched`` keeps the result.  ``projection`` says how a
net must be projected; ``synthetic`` makes look-alike traces.  ``cosim.traffic.replay`` drives vehicles along matched
traces.  docs/traces.md is the manual.
"""
