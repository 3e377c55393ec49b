//! Hearing `READY=1` (sd_notify(3)).
