//! amends-engine
