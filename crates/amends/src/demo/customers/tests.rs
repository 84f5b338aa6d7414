use super::*;

#[test]
fn the_same_seed_gives_the_same_purchases() {
    assert_eq!(purchases(50, 7), purchases(50, 7));
    assert_ne!(purchases(50, 7), purchases(50, 8));
}

#[test]
fn no_two_purchases_are_the_same_and_some_are_clicked_twice() {
    // Few customers and many purchases: draws that repeat an earlier one have to be drawn again.
    let purchases = purchases(5_000, 1);
    let distinct: HashSet<_> = purchases.iter().map(|purchase| (&purchase.customer_id, &purchase.lines)).collect();
    assert_eq!(distinct.len(), 5_000);
    let twice = purchases.iter().filter(|purchase| purchase.clicks == 2).count();
    assert!((250..650).contains(&twice), "{twice} double clicks");
    assert!(purchases.iter().all(|purchase| (1..=3).contains(&purchase.lines.len())));
}

#[test]
fn a_line_names_each_product_once() {
    for purchase in purchases(500, 3) {
        let products: HashSet<_> = purchase.lines.iter().map(|line| line.sku).collect();
        assert_eq!(products.len(), purchase.lines.len(), "{purchase:?}");
    }
}
