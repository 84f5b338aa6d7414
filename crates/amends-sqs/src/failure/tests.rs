use super::judge;
use amends_store::queues::QueueError;

#[test]
fn what_time_mends_is_not_refused_for_good() {
    for (status, code, is_for_now) in [
        (500, "InternalFailure", true),
        (503, "ServiceUnavailable", true),
        (429, "no code", true),
        (400, "RequestThrottled", true),
        (400, "ThrottlingException", true),
        (403, "OverLimit", true),
        (403, "ExpiredTokenException", true),
        (400, "AWS.SimpleQueueService.NonExistentQueue", false),
        (400, "QueueDoesNotExist", false),
        (403, "AccessDenied", false),
        (403, "InvalidClientTokenId", false),
    ] {
        let judged = judge(status, code, "said".into());
        assert_eq!(matches!(judged, QueueError::Unavailable(_)), is_for_now, "{status} {code}");
    }
}
