//! amends-idempotency
