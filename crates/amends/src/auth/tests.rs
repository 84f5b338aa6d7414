use super::*;
use amends_store::{Deed, MemoryStore, Processes, Tokens};
use std::path::Path;
use uuid::Uuid;

const LONG_ENOUGH: &str = "sesame-sesame-16";

fn authenticator(admin_token: Option<Secret>) -> (Authenticator, Arc<MemoryStore>) {
    let store = Arc::new(MemoryStore::new(Processes::One));
    let auth = config::Auth { admin_token, oidc: None };
    (Authenticator::new(&auth, store.clone()).unwrap(), store)
}

fn stored(digest: TokenDigest) -> StoredToken {
    StoredToken {
        id: Uuid::now_v7(),
        name: "billing".into(),
        role: "operator".into(),
        digest,
        created_at: Timestamp(0),
        expires_at: None,
        revoked_at: None,
    }
}

fn deed() -> Deed {
    Deed { actor: "ada".into(), action: "make token".into(), subject: "billing".into(), at: Timestamp(1) }
}

/// Who shows the token, or why that is not known.
async fn judged(authenticator: &Authenticator, token: &str) -> Result<Caller, &'static str> {
    authenticator.caller(token).await.map_err(|refusal| match refusal {
        Refusal::Invalid(why) => why,
        Refusal::NoKeys | Refusal::Store(_) => panic!("{refusal:?}"),
    })
}

#[test]
fn tokens_are_long_and_never_twice_the_same() {
    let (one, digest) = draw().unwrap();
    let (other, _) = draw().unwrap();
    assert_ne!(one, other);
    let random = one.strip_prefix("amends_").unwrap();
    assert!(random.len() == 64 && random.bytes().all(|byte| byte.is_ascii_hexdigit()), "256 bits");
    assert_eq!(digest, digest_of(&one));
}

#[tokio::test]
async fn a_token_counts_until_it_ends() {
    let minute = 60_000;
    let (past, future) = (Timestamp(now().0 - minute), Timestamp(now().0 + minute));
    type Change = fn(StoredToken, Timestamp, Timestamp) -> StoredToken;
    let cases: [(Change, Result<Option<Role>, &str>); 5] = [
        (|token, _, _| token, Ok(Some(Role::Operator))),
        (|token, _, future| StoredToken { expires_at: Some(future), ..token }, Ok(Some(Role::Operator))),
        (|token, past, _| StoredToken { expires_at: Some(past), ..token }, Err("the token has expired")),
        (|token, past, _| StoredToken { revoked_at: Some(past), ..token }, Err("the token was revoked")),
        (|token, _, _| StoredToken { role: "owner".into(), ..token }, Ok(None)),
    ];
    for (number, (change, expected)) in cases.into_iter().enumerate() {
        let (authenticator, store) = authenticator(None);
        let (token, digest) = draw().unwrap();
        store.put_token(change(stored(digest), past, future), deed()).await.unwrap();
        let caller = judged(&authenticator, &token).await;
        assert_eq!(caller.map(|caller| caller.role), expected, "case {number}");
    }
    let (authenticator, _) = authenticator(None);
    assert_eq!(judged(&authenticator, &draw().unwrap().0).await, Err("the token is not known"));
}

/// What is asked of the store is asked once in five seconds.
#[tokio::test(start_paused = true)]
async fn a_revocation_holds_within_five_seconds() {
    let (authenticator, store) = authenticator(None);
    let (token, digest) = draw().unwrap();
    let id = stored(digest).id;
    store.put_token(StoredToken { id, ..stored(digest) }, deed()).await.unwrap();
    assert_eq!(judged(&authenticator, &token).await.unwrap().name, "billing");
    store.revoke_token(id, deed()).await.unwrap();
    assert!(judged(&authenticator, &token).await.is_ok(), "another server has not heard of it");
    tokio::time::advance(std::time::Duration::from_secs(5)).await;
    assert_eq!(judged(&authenticator, &token).await, Err("the token was revoked"));
}

#[tokio::test]
async fn the_admins_token_is_read_when_it_is_needed() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("token");
    let (authenticator, _) = authenticator(Some(Secret::File(path.clone())));
    let write = |path: &Path, text: &str| std::fs::write(path, text).unwrap();
    let unknown = Err("the token is not known");
    assert_eq!(judged(&authenticator, LONG_ENOUGH).await, unknown, "there is no file");
    write(&path, &format!("{LONG_ENOUGH}\n"));
    assert_eq!(judged(&authenticator, "sesame-sesame-17").await, unknown);
    let admin = Caller { name: "admin".into(), role: Some(Role::Admin) };
    assert_eq!(judged(&authenticator, LONG_ENOUGH).await, Ok(admin));
    write(&path, "another-sesame-another");
    authenticator.forget();
    assert_eq!(judged(&authenticator, LONG_ENOUGH).await, unknown, "it was changed");
}

#[tokio::test]
async fn an_admins_token_that_could_be_guessed_is_not_taken() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("token");
    let (authenticator, _) = authenticator(Some(Secret::File(path.clone())));
    for short in ["", "\n", "sesame", &LONG_ENOUGH[1..]] {
        std::fs::write(&path, short).unwrap();
        assert!(judged(&authenticator, short.trim_end()).await.is_err(), "{short:?}");
    }
}

/// Whoever tries tokens waits for their turn; who needs no look at the store does not wait for them.
#[tokio::test(start_paused = true)]
async fn only_so_many_tokens_are_looked_up_at_once() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("token");
    std::fs::write(&path, LONG_ENOUGH).unwrap();
    let (authenticator, _) = authenticator(Some(Secret::File(path)));
    let (token, _) = draw().unwrap();
    let others = authenticator.lookups.acquire_many(LOOKUPS as u32).await.unwrap();
    let patience = std::time::Duration::from_secs(1);
    assert!(tokio::time::timeout(patience, judged(&authenticator, &token)).await.is_err());
    assert!(judged(&authenticator, LONG_ENOUGH).await.is_ok());
    drop(others);
    assert_eq!(judged(&authenticator, &token).await, Err("the token is not known"));
}
