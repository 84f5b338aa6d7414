//! The API's own tokens.

use super::{EVERYTHING, Subject, at, deed, id};
use crate::{Deed, StoreError, StoredToken, TokenDigest, TokenQuery};

fn digest(number: u8) -> TokenDigest {
    [number; 32]
}

/// A token whose digest goes by its number.
fn token(number: u8) -> StoredToken {
    StoredToken {
        id: id(number.into()),
        name: "billing".into(),
        role: "operator".into(),
        digest: digest(number),
        created_at: at(100),
        expires_at: None,
        revoked_at: None,
    }
}

fn revocation(when: u64) -> Deed {
    Deed { at: at(when), ..deed("revoke token", "billing") }
}

async fn put(store: &Subject, token: StoredToken) {
    store.put_token(token, deed("make token", "billing")).await.expect("a token can be kept");
}

async fn find(store: &Subject, number: u8) -> Option<StoredToken> {
    store.token(digest(number)).await.expect("a token can be looked up")
}

async fn list(store: &Subject, query: TokenQuery) -> Vec<StoredToken> {
    store.tokens(query).await.expect("tokens can be listed")
}

/// Everything that was said of it, and under its own digest alone.
pub async fn a_token_is_found_by_its_digest(store: Subject) {
    assert_eq!(find(&store, 1).await, None);
    let temporary = StoredToken { expires_at: Some(at(900)), name: "a\0b".into(), ..token(2) };
    put(&store, token(1)).await;
    put(&store, temporary.clone()).await;
    assert_eq!(find(&store, 1).await, Some(token(1)));
    assert_eq!(find(&store, 2).await, Some(temporary));
    assert_eq!(find(&store, 3).await, None);
    let mut near = digest(1);
    near[31] ^= 1;
    assert_eq!(store.token(near).await.expect("a token can be looked up"), None);
}

/// Whoever does not know whether it was kept can offer it again.
pub async fn a_token_that_is_put_again_changes_nothing(store: Subject) {
    put(&store, token(1)).await;
    store.revoke_token(id(1), revocation(500)).await.expect("a token can be revoked");
    put(&store, StoredToken { role: "admin".into(), ..token(1) }).await;
    assert_eq!(find(&store, 1).await, Some(StoredToken { revoked_at: Some(at(500)), ..token(1) }));
}

/// One digest is one token, or nobody knows what it permits.
pub async fn two_tokens_never_share_a_digest(store: Subject) {
    put(&store, token(1)).await;
    let other = StoredToken { id: id(2), role: "admin".into(), ..token(1) };
    let refused = store.put_token(other, deed("make token", "billing")).await;
    assert!(matches!(refused, Err(StoreError::Damaged(_))), "{refused:?}");
    assert_eq!(list(&store, TokenQuery { limit: EVERYTHING, ..TokenQuery::default() }).await, [token(1)]);
}

/// It stays to be seen, and keeps the time at which it was revoked first.
pub async fn a_token_is_revoked_once(store: Subject) {
    put(&store, token(1)).await;
    put(&store, token(2)).await;
    let revoked = StoredToken { revoked_at: Some(at(500)), ..token(1) };
    for when in [500, 700] {
        let answer = store.revoke_token(id(1), revocation(when)).await.expect("a token can be revoked");
        assert_eq!(answer, Some(revoked.clone()));
    }
    assert_eq!(find(&store, 1).await, Some(revoked));
    assert_eq!(find(&store, 2).await, Some(token(2)));
    assert_eq!(store.revoke_token(id(3), revocation(500)).await.expect("nothing is no error"), None);
}

/// Newest first, each page from where the last one ended.
pub async fn tokens_come_in_pages(store: Subject) {
    for number in [3, 1, 5, 2, 4] {
        put(&store, token(number)).await;
    }
    let numbers = async |before: Option<u128>, limit| -> Vec<u128> {
        let page = list(&store, TokenQuery { before: before.map(id), limit }).await;
        page.into_iter().map(|token| token.id.as_u128()).collect()
    };
    assert_eq!(numbers(None, 2).await, [5, 4]);
    assert_eq!(numbers(Some(4), 2).await, [3, 2]);
    assert_eq!(numbers(Some(2), EVERYTHING).await, [1]);
    assert_eq!(numbers(Some(1), EVERYTHING).await, [0; 0]);
    assert_eq!(numbers(None, 0).await, [0; 0]);
}
