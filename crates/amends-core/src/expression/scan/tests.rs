//! No piece is empty, and together they are the source.

use super::{Piece, split};

#[test]
fn a_source_is_split_into_as_few_pieces_as_it_has() {
    let (text, expression) = (Piece::Text, Piece::Expression);
    #[rustfmt::skip]
    let cases = [
        ("", vec![]),
        ("{ text }", vec![text(0..8)]),
        ("{{a}}", vec![expression(2..3)]),
        ("{{a}}{{b}}", vec![expression(2..3), expression(7..8)]),
        ("x{{a}}y{{b}}z", vec![text(0..1), expression(3..4), text(6..7), expression(9..10), text(12..13)]),
    ];
    for (source, pieces) in cases {
        assert_eq!(split(source), Ok(pieces), "{source}");
    }
}
