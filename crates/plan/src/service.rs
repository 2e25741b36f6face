//! Services: who serves where, as a table that says nothing of how; and one file for each way of bringing it about.

pub mod nftables;
pub mod table;
