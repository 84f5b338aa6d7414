use super::*;
use crate::{PostgresStore, Store, Views};

/// How many rows of counts there are of each age in days, and what they come to.
async fn counts(link: &Link, now: i64) -> Vec<(i64, i64, i64)> {
    let text = "
        SELECT ($1 - minute) / 1440, count(*), sum(value)::bigint FROM amends.count GROUP BY 1 ORDER BY 1";
    let rows = link.query_text(text, &[(&now as _, Type::INT8)]).await.unwrap();
    rows.iter().map(|row| (row.get(0), row.get(1), row.get(2))).collect()
}

/// Two connections count something each minute for some days; what comes of it is as much, in fewer rows.
#[tokio::test]
async fn counts_are_added_up_when_they_are_old() {
    let (store, link) = PostgresStore::open_for_test().await;
    let now = i64::try_from(reads::time(&link).await.unwrap().0 / 60_000).unwrap();
    let count = format!(
        "INSERT INTO amends.count
         SELECT {now} - age, 'order', 'started', md5(writer::text)::uuid, 1
         FROM unnest(ARRAY[0, 1, 3, 40]) AS days, generate_series(days * 1440, days * 1440 + 1439) AS age,
             generate_series(1, 2) AS writer"
    );
    link.run(&count).await.unwrap();
    let before = store.statistics().await.unwrap();
    for round in ["once", "again"] {
        store.keep_up(None).await.unwrap();
        assert_eq!(store.statistics().await.unwrap(), before, "{round}");
        let (mut recent, mut old) = (0, 0);
        for (days, rows, _) in counts(&link, now).await {
            match days {
                0 | 1 => recent += rows,
                _ => old += rows,
            }
        }
        // A row for each minute and, of the last hour, for each connection. The test may run over the end of a minute.
        assert!((2 * 1_440 + 55..=2 * 1_440 + 65).contains(&recent), "{round}: {recent}");
        assert!((25..=28).contains(&old), "{round}: a row for each hour of one day, and for each of two days: {old}");
    }
    // One that comes late is counted all the same.
    let late = format!("INSERT INTO amends.count VALUES ({now} - 3 * 1440, 'order', 'started', gen_random_uuid(), 1)");
    link.run(&late).await.unwrap();
    store.keep_up(None).await.unwrap();
    assert_eq!(store.statistics().await.unwrap().started, before.started + 1);
}

#[tokio::test]
async fn incarnations_that_ended_long_ago_are_forgotten() {
    let (store, link) = PostgresStore::open_for_test().await;
    link.run(
        "INSERT INTO amends.incarnation (id, live, lease_until, released) VALUES
             (gen_random_uuid(), false, now() - interval '36 days', true),
             (gen_random_uuid(), false, now() - interval '36 days', false),
             (gen_random_uuid(), false, now() - interval '34 days', true),
             (gen_random_uuid(), true, NULL, false)",
    )
    .await
    .unwrap();
    store.keep_up(None).await.unwrap();
    let left: i64 = link.query_text("SELECT count(*) FROM amends.incarnation", &[]).await.unwrap()[0].get(0);
    assert_eq!(left, 3);
}
