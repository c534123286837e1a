//! What is done next, one deviation at a time.

mod absence;
mod bring_up;
mod budget;
mod choice;
mod create;
mod ends;
mod orphans;
mod owner;
mod queue;
mod spec;
mod time;
mod waiting;
