//! What `weight` and `data_src` mean on each PMU: one file each, and the list of them.
