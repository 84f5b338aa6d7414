use super::{GOOD_PART, Patient};
use std::io::ErrorKind;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt, duplex};
use tokio::time::{Instant, interval};

const PATIENCE: Duration = Duration::from_millis(200);
/// What fits between the two ends.
const ROOM: usize = 1024;

#[tokio::test]
async fn who_does_not_read_is_cut_off_in_time() {
    let (ours, _theirs) = duplex(ROOM);
    let mut ours = Patient::new(ours, PATIENCE);
    let began = Instant::now();
    let error = ours.write_all(&[b'x'; 2 * ROOM]).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::TimedOut);
    assert!(began.elapsed() >= PATIENCE);
}

#[tokio::test]
async fn who_reads_by_drops_is_cut_off_too() {
    let (ours, mut theirs) = duplex(ROOM);
    let mut ours = Patient::new(ours, PATIENCE);
    tokio::spawn(async move {
        let mut drops = interval(Duration::from_millis(10));
        loop {
            drops.tick().await;
            if theirs.read_u8().await.is_err() {
                break;
            }
        }
    });
    let error = ours.write_all(&vec![b'x'; GOOD_PART]).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::TimedOut);
}

#[tokio::test]
async fn who_reads_all_in_the_end_may_take_longer_than_that() {
    let (ours, mut theirs) = duplex(ROOM);
    let mut ours = Patient::new(ours, PATIENCE);
    let reader = tokio::spawn(async move {
        let mut pauses = interval(PATIENCE / 2);
        let mut read = 0;
        // Each time it takes all there is, and then makes a pause.
        while read < 6 * ROOM {
            pauses.tick().await;
            let mut all = vec![0; 2 * ROOM];
            theirs.read_exact(&mut all).await.unwrap();
            read += all.len();
        }
    });
    for _ in 0..3 {
        ours.write_all(&[b'x'; 2 * ROOM]).await.unwrap();
        ours.flush().await.unwrap();
    }
    reader.await.unwrap();
}
