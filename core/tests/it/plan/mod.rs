//! What is done next, one deviation at a time.

mod absence;
mod brake;
mod bring_up;
mod budget;
mod choice;
mod create;
mod ends;
mod expired;
mod handover;
mod orphans;
mod owner;
mod probes;
mod queue;
mod spec;
mod time;
mod waiting;
