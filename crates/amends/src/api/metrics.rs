//! Metrics as Prometheus reads them. Labels take only values that the configuration or this program names: routes,
//! participants, states. No id, key or definition's name is a label, so their number stays bounded.

use amends_engine::{Gauges, ParticipantGauges};
use amends_store::Statistics;
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, MetricEncoder, NoLabelSet};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::Registry;
use std::fmt;
use std::time::Duration;

/// The states of a breaker, each a row of its metric.
const BREAKER_STATES: [&str; 3] = ["closed", "half-open", "open"];
/// Upper bounds of the buckets of requests to the API, in seconds.
const REQUEST_BUCKETS: [f64; 10] = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.5, 1.0, 5.0];

type Labels = Vec<(&'static str, String)>;

/// Counts of the API's own requests.
#[derive(Clone, Debug)]
pub struct HttpMetrics {
    requests: Family<Labels, Counter>,
    durations: Family<Labels, Histogram>,
}

impl Default for HttpMetrics {
    fn default() -> Self {
        let histogram: fn() -> Histogram = || Histogram::new(REQUEST_BUCKETS);
        HttpMetrics { requests: Family::default(), durations: Family::new_with_constructor(histogram) }
    }
}

impl HttpMetrics {
    /// Counts one request. `route` is the pattern that it matched and not its path.
    pub(crate) fn count(&self, method: &http::Method, route: &str, status: u16, took: Duration) {
        // Methods are the caller's to invent; only those that exist are labels.
        let known = ["GET", "HEAD", "POST", "PUT", "DELETE", "PATCH", "OPTIONS"];
        let method = if known.contains(&method.as_str()) { method.as_str() } else { "other" };
        let route = vec![("method", method.to_owned()), ("route", route.to_owned())];
        let answered = [route.clone(), vec![("status", status.to_string())]].concat();
        self.requests.get_or_create(&answered).inc();
        self.durations.get_or_create(&route).observe(took.as_secs_f64());
    }

    /// All metrics as text.
    pub(crate) fn render(
        &self,
        statistics: Statistics,
        gauges: Gauges,
        audit_sealed: Option<u64>,
    ) -> Result<String, fmt::Error> {
        let mut registry = Registry::with_prefix("amends");
        registry.register("http_requests", "Requests to the API, by route and status", self.requests.clone());
        registry.register("http_request_duration_seconds", "How long requests to the API took", self.durations.clone());
        registry.register_collector(Box::new(Reading { statistics, gauges, audit_sealed }));
        let mut text = String::new();
        prometheus_client::encoding::text::encode(&mut text, &registry)?;
        Ok(text)
    }
}

/// What the store and the engine say at one moment.
#[derive(Debug)]
struct Reading {
    statistics: Statistics,
    gauges: Gauges,
    /// The number of the last sealed entry of the audit log; `None` where that cannot be read.
    audit_sealed: Option<u64>,
}

impl Collector for Reading {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), fmt::Error> {
        self.encode_sagas(&mut encoder)?;
        self.encode_calls(&mut encoder)?;
        self.encode_breakers(&mut encoder)?;
        self.encode_latency(&mut encoder)
    }
}

impl Reading {
    fn encode_sagas(&self, encoder: &mut DescriptorEncoder<'_>) -> Result<(), fmt::Error> {
        let Statistics { started, completed, compensated, dead_letters_open, orphans } = self.statistics;
        let mut build = encoder.encode_descriptor("build", "The version of Amends", None, MetricType::Info)?;
        build.encode_info(&[("version", env!("CARGO_PKG_VERSION"))])?;
        counter(encoder, "sagas_started", "Sagas that were accepted", &[(vec![], started)])?;
        let finished = [(vec![("outcome", "completed")], completed), (vec![("outcome", "compensated")], compensated)];
        counter(encoder, "sagas_finished", "Sagas that ended, by outcome", &finished)?;
        let in_flight = started.saturating_sub(completed + compensated);
        gauge(encoder, "sagas_in_flight", "Sagas that have not ended", &[(vec![], in_flight)])?;
        let live = self.gauges.live_sagas as u64;
        gauge(encoder, "sagas_live", "Sagas that this process holds in memory", &[(vec![], live)])?;
        gauge(encoder, "dead_letters_open", "Dead letters that wait for a person", &[(vec![], dead_letters_open)])?;
        let help = "Unfinished sagas that nothing will wake; anything but 0 is a fault of Amends";
        gauge(encoder, "orphans", help, &[(vec![], orphans)])?;
        let sealed: Vec<_> = self.audit_sealed.map(|number| (vec![], number)).into_iter().collect();
        gauge(encoder, "audit_sealed", "The number of the last sealed entry of the audit log", &sealed)
    }

    fn encode_calls(&self, encoder: &mut DescriptorEncoder<'_>) -> Result<(), fmt::Error> {
        let each = |value: fn(&ParticipantGauges) -> usize| -> Vec<(Vec<(&str, &str)>, u64)> {
            let rows = self.gauges.participants.iter();
            rows.map(|(name, gauges)| (vec![("participant", name.as_str())], value(gauges) as u64)).collect()
        };
        let in_flight = each(|gauges| gauges.calls_in_flight);
        gauge(encoder, "calls_in_flight", "Actions and probes in flight", &in_flight)?;
        let waiting = each(|gauges| gauges.calls_waiting);
        gauge(encoder, "calls_waiting", "Actions and probes that wait for a place", &waiting)?;
        let compensations = each(|gauges| gauges.compensations_in_flight);
        gauge(encoder, "compensations_in_flight", "Compensations in flight", &compensations)?;
        let ended = self.gauges.participants.iter().flat_map(|(name, gauges)| {
            gauges.ended.iter().map(move |((direction, class), count)| {
                (vec![("participant", name.as_str()), ("direction", *direction), ("class", *class)], *count)
            })
        });
        let ended: Vec<_> = ended.collect();
        counter(encoder, "calls", "Calls that ended, by what their answer means", &ended)
    }

    fn encode_breakers(&self, encoder: &mut DescriptorEncoder<'_>) -> Result<(), fmt::Error> {
        let states = self.gauges.participants.iter().flat_map(|(name, gauges)| {
            BREAKER_STATES.map(|state| {
                (vec![("participant", name.as_str()), ("state", state)], u64::from(gauges.breaker == state))
            })
        });
        let states: Vec<_> = states.collect();
        gauge(encoder, "breaker", "1 for the state that a participant's breaker of compensations is in", &states)
    }

    fn encode_latency(&self, encoder: &mut DescriptorEncoder<'_>) -> Result<(), fmt::Error> {
        let help = "How long calls to participants took";
        let mut histogram = encoder.encode_descriptor("call_duration_seconds", help, None, MetricType::Histogram)?;
        for (name, gauges) in &self.gauges.participants {
            let (cumulative, sum_ms) = &gauges.latency;
            let bounds =
                Gauges::BUCKETS_MS.iter().map(|ms| if *ms == u64::MAX { f64::INFINITY } else { *ms as f64 / 1e3 });
            let before = std::iter::once(0).chain(cumulative.iter().copied());
            let counts = cumulative.iter().zip(before).map(|(upto, before)| upto.saturating_sub(before));
            let buckets: Vec<(f64, u64)> = bounds.zip(counts).collect();
            let count = cumulative.last().copied().unwrap_or_default();
            let labels = [("participant", name.as_str())];
            let mut row = histogram.encode_family(&labels)?;
            row.encode_histogram::<NoLabelSet>(*sum_ms as f64 / 1e3, count, &buckets, None)?;
        }
        Ok(())
    }
}

/// A metric's rows: labels and value.
type Row<'a> = (Vec<(&'static str, &'a str)>, u64);

fn counter(encoder: &mut DescriptorEncoder<'_>, name: &str, help: &str, rows: &[Row<'_>]) -> Result<(), fmt::Error> {
    let metric = encoder.encode_descriptor(name, help, None, MetricType::Counter)?;
    encode_rows(metric, rows, |mut row, value| row.encode_counter::<NoLabelSet, u64, u64>(&value, None))
}

fn gauge(encoder: &mut DescriptorEncoder<'_>, name: &str, help: &str, rows: &[Row<'_>]) -> Result<(), fmt::Error> {
    let metric = encoder.encode_descriptor(name, help, None, MetricType::Gauge)?;
    encode_rows(metric, rows, |mut row, value| row.encode_gauge(&value))
}

fn encode_rows(
    mut metric: MetricEncoder<'_>,
    rows: &[Row<'_>],
    encode: impl Fn(MetricEncoder<'_>, u64) -> Result<(), fmt::Error>,
) -> Result<(), fmt::Error> {
    for (labels, value) in rows {
        let labels = labels.as_slice();
        // An empty set of labels would be written as empty braces, which not every reader takes.
        if labels.is_empty() {
            return encode(metric, *value);
        }
        encode(metric.encode_family(&labels)?, *value)?;
    }
    Ok(())
}
