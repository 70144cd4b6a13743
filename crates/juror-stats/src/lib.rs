//! Numbers to judgements: scaling, intervals, correlation, pair choice; no I/O.
