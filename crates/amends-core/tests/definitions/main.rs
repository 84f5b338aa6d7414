//! Reading, judging and rendering definitions, from the outside.

mod design;
mod expressions;
mod generated;
mod guide;
mod notation;
mod problems;
