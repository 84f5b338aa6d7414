//! The state diagram, generated from the machine.
