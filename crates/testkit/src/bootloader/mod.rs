//! Models of the boot scripts, trusted only because they repeat what was recorded from the real
//! ones.
