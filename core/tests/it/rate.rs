//! The budget against a real token bucket, and what it says about itself.

use std::time::Duration;

use cattle_core::rate::{Budget, Class, PER_PAGE, Sent, Told, list_cost, list_interval, pages};
use proptest::prelude::*;

use crate::fixture::at;

fn millis(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

fn secs(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

/// Hetzner's bucket, with what its replies say.
#[derive(Clone, Debug)]
struct Bucket {
    limit: u32,
    refill: f64,
    tokens: f64,
    at: Duration,
}

impl Bucket {
    fn full(limit: u32, refill: f64) -> Self {
        Self {
            limit,
            refill,
            tokens: f64::from(limit),
            at: Duration::ZERO,
        }
    }

    fn pass_to(&mut self, now: Duration) {
        let elapsed = (now - self.at).as_secs_f64();
        self.tokens = (self.tokens + elapsed * self.refill).min(f64::from(self.limit));
        self.at = now;
    }

    /// Counts a call; `None` is a 429.
    fn call(&mut self, now: Duration) -> Option<Told> {
        self.pass_to(now);
        if self.tokens < 1.0 {
            return None;
        }
        self.tokens -= 1.0;
        Some(self.told())
    }

    fn told(&self) -> Told {
        let full_at = self.at.as_secs_f64() + (f64::from(self.limit) - self.tokens) / self.refill;
        let date = self.at.as_secs_f64().floor();
        Told {
            limit: self.limit,
            remaining: self.tokens.floor() as u32,
            full_in: Some(Duration::from_secs_f64((full_at.ceil() - date).max(0.0))),
        }
    }
}

fn told(limit: u32, remaining: u32) -> Told {
    Told {
        limit,
        remaining,
        full_in: None,
    }
}

/// A budget that was told once.
fn after(limit: u32, remaining: u32) -> Budget {
    let mut budget = Budget::default();
    let sent = budget.take(Duration::ZERO);
    budget.counted(sent, Some(told(limit, remaining)), Duration::ZERO);
    budget
}

#[test]
fn before_the_first_reply_the_documented_bucket_is_assumed() {
    let budget = Budget::default();
    assert_eq!((budget.limit(), budget.left(secs(9))), (3600, 3600));
    assert_eq!(budget.reserve(), 360);
    assert_eq!(budget.status(secs(9)), None);
}

#[test]
fn without_headers_calls_are_paced_and_never_stop() {
    let mut budget = Budget::default();
    let mut now = Duration::ZERO;
    for _ in 0..5_000 {
        now += budget.due(Class::Read, now);
        let sent = budget.take(now);
        budget.counted(sent, None, now);
    }
    // 3,060 at once (540 are kept for others), then one a second.
    assert_eq!(now.as_secs(), 5_000 - 3_060);
}

#[test]
fn a_tenth_is_kept_for_deletes_and_lists_and_a_little_more_for_creates() {
    let due = |class, remaining| after(60, remaining).due(class, Duration::ZERO).is_zero();
    for (class, needs) in [
        (Class::Delete, 1),
        (Class::List, 1),
        (Class::Create, 7),
        (Class::Read, 10),
    ] {
        assert!(
            due(class, needs) && !due(class, needs - 1),
            "{class:?} {needs}"
        );
    }
}

#[test]
fn the_smallest_buckets_serve_everybody_some_time() {
    for limit in 1..=40 {
        let full = after(limit, limit);
        for class in Class::ALL {
            assert!(
                full.due(class, Duration::ZERO).is_zero(),
                "{class:?} {limit}"
            );
        }
    }
}

#[test]
fn a_wait_is_exactly_until_the_call_that_it_needs() {
    let budget = after(3600, 0);
    let wait = budget.due(Class::Delete, Duration::ZERO);
    assert!((1000..=1002).contains(&wait.as_millis()), "{wait:?}");
    assert!(budget.due(Class::Delete, wait).is_zero());
    let wait = budget.due(Class::Create, Duration::ZERO);
    assert_eq!(wait.as_secs(), 361);
    assert!(budget.due(Class::Create, wait).is_zero());
}

#[test]
fn what_is_under_way_is_taken_off() {
    let mut budget = after(60, 3);
    let sent: Vec<Sent> = (0..3).map(|_| budget.take(Duration::ZERO)).collect();
    assert_eq!(budget.left(Duration::ZERO), 0);
    assert!(!budget.due(Class::Delete, Duration::ZERO).is_zero());
    for sent in sent {
        budget.unsent(sent, Duration::ZERO);
    }
    assert_eq!(budget.left(Duration::ZERO), 3);
    assert_eq!(
        budget.status(Duration::ZERO).map(|it| it.used_last_hour),
        Some(1)
    );
}

#[test]
fn the_very_first_call_goes_alone_but_not_for_long() {
    let mut budget = Budget::default();
    let sent = budget.take(secs(10));
    assert_eq!(budget.due(Class::Delete, secs(10)), Duration::ZERO);
    for class in [Class::List, Class::Create, Class::Read] {
        assert_eq!(budget.due(class, secs(10)), secs(2));
        assert_eq!(budget.due(class, secs(12)), Duration::ZERO);
    }
    budget.counted(sent, None, secs(11));
    let _second = budget.take(secs(11));
    assert_eq!(budget.due(Class::Read, secs(11)), Duration::ZERO);
}

#[test]
fn after_a_refusal_no_fraction_of_a_call_is_made_up() {
    let mut budget = after(3600, 0);
    let sent = budget.take(millis(900));
    budget.refused(sent, Some(told(3600, 0)), millis(900));
    assert_eq!(budget.left(millis(1_850)), 0);
    assert_eq!(budget.left(millis(1_900)), 1);
}

/// Empties a bucket call by call as the reserve allows, and says what refill was learnt.
fn learnt_refill(limit: u32, refill: f64) -> f64 {
    let (mut budget, mut bucket) = (Budget::default(), Bucket::full(limit, refill));
    for call in 0..u64::from(limit) - 1 {
        let now = millis(300 + call * 10);
        let sent = budget.take(now);
        let told = bucket.call(now);
        assert!(told.is_some());
        budget.counted(sent, told, now);
    }
    budget.refill()
}

#[test]
fn the_documented_refill_is_recognised_as_such() {
    for limit in [60, 100, 720, 3600, 7200] {
        let nominal = f64::from(limit) / 3600.0;
        assert_eq!(learnt_refill(limit, nominal), nominal, "{limit}");
    }
}

#[test]
fn a_bucket_of_sixty_that_refills_one_a_second_is_recognised_as_such() {
    let refill = learnt_refill(60, 1.0);
    assert!((0.94..=1.0).contains(&refill), "{refill}");
}

#[test]
fn a_nearly_full_bucket_says_nothing_about_its_refill() {
    let mut budget = Budget::default();
    let sent = budget.take(Duration::ZERO);
    let told = Told {
        full_in: Some(secs(1)),
        ..told(60, 59)
    };
    budget.counted(sent, Some(told), Duration::ZERO);
    assert_eq!(budget.refill(), 60.0 / 3600.0);
}

#[test]
fn a_reset_that_means_something_else_is_not_believed() {
    for full_in in [0, 400_000_000] {
        let mut budget = Budget::default();
        let sent = budget.take(Duration::ZERO);
        let told = Told {
            full_in: Some(secs(full_in)),
            ..told(3600, 100)
        };
        budget.counted(sent, Some(told), Duration::ZERO);
        assert!((1.0..=3600.0).contains(&budget.refill()), "{full_in}");
    }
}

#[test]
fn what_others_use_is_noticed_and_counted() {
    let mut budget = Budget::default();
    let mut bucket = Bucket::full(3600, 1.0);
    let mut noticed = 0;
    for tick in 0..20 {
        let now = secs(30 * tick) + millis(5);
        if tick > 0 {
            bucket.pass_to(now - millis(2));
            bucket.tokens -= 40.0;
        }
        let sent = budget.take(now);
        let told = bucket.call(now);
        noticed += budget.counted(sent, told, now);
    }
    assert_eq!(noticed, 19 * 40);
    let status = budget.status(secs(600)).unwrap();
    assert_eq!((status.used_last_hour, status.others_last_hour), (20, 760));
    assert_eq!(status.remaining, bucket.told().remaining + 29);
}

#[test]
fn what_was_used_before_the_first_reply_is_nobodys() {
    assert_eq!(
        after(3600, 17).status(Duration::ZERO).unwrap(),
        cattle_schemas::status::CallBudget {
            limit: 3600,
            remaining: 17,
            reserve: 360,
            used_last_hour: 1,
            others_last_hour: 0,
        }
    );
}

#[test]
fn counts_are_forgotten_after_an_hour() {
    let mut budget = after(3600, 3599);
    let used = |budget: &Budget, now| budget.status(now).unwrap().used_last_hour;
    assert_eq!(used(&budget, secs(59 * 60)), 1);
    assert_eq!(used(&budget, secs(60 * 60)), 0);
    let sent = budget.take(secs(30 * 60));
    budget.counted(sent, None, secs(30 * 60));
    assert_eq!(used(&budget, secs(45 * 60)), 2);
    assert_eq!(used(&budget, secs(70 * 60)), 1);
    let sent = budget.take(secs(500 * 60));
    budget.counted(sent, None, secs(500 * 60));
    assert_eq!(used(&budget, secs(500 * 60)), 1);
}

#[test]
fn after_a_refusal_everything_waits_and_deletes_only_a_moment() {
    let mut budget = after(3600, 3000);
    let sent = budget.take(secs(10));
    budget.refused(sent, Some(told(3600, 500)), secs(10));
    budget.hold(secs(4), secs(1), secs(10));
    assert_eq!(budget.due(Class::Delete, secs(10)), secs(1));
    assert_eq!(budget.due(Class::Delete, secs(11)), Duration::ZERO);
    for class in [Class::List, Class::Create] {
        assert_eq!(budget.due(class, secs(11)), secs(3), "{class:?}");
        assert_eq!(budget.due(class, secs(14)), Duration::ZERO);
    }
    let calls = budget.creates(0, secs(11), at(11));
    assert_eq!((calls.creates, calls.more_at), (0, Some(at(14))));
}

#[test]
fn a_refusal_that_says_nothing_means_empty_until_a_reply_says_more() {
    let mut budget = after(3600, 3000);
    let sent = budget.take(secs(10));
    budget.refused(sent, None, secs(10));
    assert_eq!(budget.left(secs(10)), 0);
    let sent = budget.take(secs(12));
    budget.counted(sent, Some(told(3600, 2900)), secs(12));
    assert_eq!(budget.left(secs(12)), 2900);
}

#[test]
fn creates_are_what_is_left_beside_the_reserve_and_what_was_begun() {
    let budget = after(60, 20);
    let calls = budget.creates(4, Duration::ZERO, at(0));
    assert_eq!((calls.creates, calls.left, calls.reserve), (10, 20, 6));
    assert_eq!(budget.creates(14, Duration::ZERO, at(0)).creates, 0);
    let none = after(3600, 4).creates(0, Duration::ZERO, at(0));
    assert_eq!(none.creates, 0);
    let wait = none.more_at.unwrap() - at(0);
    assert_eq!(wait.num_seconds(), 357);
}

#[test]
fn an_older_reply_that_comes_late_raises_nothing() {
    let mut budget = after(3600, 100);
    let now = Duration::ZERO;
    let (first, second) = (budget.take(now), budget.take(now));
    // The second was counted last and answered first.
    budget.counted(second, Some(told(3600, 98)), now);
    budget.counted(first, Some(told(3600, 99)), now);
    assert_eq!(budget.left(now), 98);
}

#[test]
fn lists_are_pages_of_fifty_and_take_a_quarter_at_most() {
    assert_eq!(
        [0, 1, 50, 51, 1000].map(pages),
        [1, 1, 1, 2, 20],
        "the API gives no page after a full last one"
    );
    let interval = |wanted, servers| list_interval(secs(wanted), PER_PAGE, servers, 1.0).as_secs();
    assert_eq!(
        [10, 100, 500, 1000].map(|n| interval(30, n)),
        [30, 30, 44, 84],
        "the firewall is read beside each"
    );
    assert_eq!(
        [10, 100, 500, 1000].map(|n| interval(5, n)),
        [8, 12, 44, 84]
    );
    assert_eq!(list_interval(secs(5), PER_PAGE, 10, 0.1), secs(80));
}

proptest! {
    #[test]
    fn lists_never_take_more_than_a_quarter(
        servers in 0_usize..20_000, limit in 1_u32..100_000, wanted in 1_u64..60,
    ) {
        let cost = list_cost(secs(wanted), servers, f64::from(limit) / 3600.0);
        prop_assert!(cost.share <= 0.25 + 1e-9, "{cost:?}");
        prop_assert!(cost.interval >= secs(wanted));
    }
}

/// What happens next in a history.
#[derive(Clone, Copy, Debug)]
enum Step {
    /// Time goes by.
    Pass(Duration),
    /// A call is begun if it is due.
    Begin(Class),
    /// Hetzner gets the n-th of those begun.
    Arrive(usize),
    /// The reply to the n-th that arrived comes, with headers or without.
    Reply(usize, bool),
}

fn step() -> impl Strategy<Value = Step> {
    let class = prop::sample::select(Class::ALL.to_vec());
    prop_oneof![
        2 => (0_u64..3_000).prop_map(|ms| Step::Pass(millis(ms))),
        8 => class.prop_map(Step::Begin),
        8 => (0_usize..50).prop_map(Step::Arrive),
        8 => (0_usize..50, prop::bool::weighted(0.9)).prop_map(|(n, told)| Step::Reply(n, told)),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    /// Whatever is under way at once, whatever overtakes what, whatever replies are lost.
    #[test]
    fn a_call_that_is_due_is_never_refused(
        limit in 1_u32..120,
        faster in prop::sample::select(vec![1.0, 3.7, 60.0]),
        used in 0_u32..120,
        steps in prop::collection::vec(step(), 1..400),
    ) {
        let mut bucket = Bucket::full(limit, f64::from(limit) / 3600.0 * faster);
        bucket.tokens -= f64::from(used.min(limit - 1));
        let mut budget = Budget::default();
        let mut now = Duration::ZERO;
        // The first call of all goes alone: nothing is known before its reply.
        let sent = budget.take(now);
        let told = bucket.call(now);
        budget.counted(sent, told, now);
        let (mut begun, mut arrived) = (Vec::new(), Vec::new());
        for step in steps {
            match step {
                Step::Pass(time) => now += time,
                Step::Begin(class) => {
                    let due = budget.due(class, now).is_zero();
                    if class == Class::Delete {
                        prop_assert_eq!(due, budget.left(now) > 0, "held although a call is left");
                    }
                    if due {
                        begun.push(budget.take(now));
                    }
                }
                Step::Arrive(n) if !begun.is_empty() => {
                    let sent = begun.remove(n % begun.len());
                    let told = bucket.call(now);
                    prop_assert!(told.is_some(), "refused: {:?} {:?}", bucket, budget);
                    arrived.push((sent, told));
                }
                Step::Reply(n, headers) if !arrived.is_empty() => {
                    let (sent, told) = arrived.remove(n % arrived.len());
                    let others = budget.counted(sent, told.filter(|_| headers), now);
                    prop_assert_eq!(others, 0, "nobody else called");
                }
                Step::Arrive(_) | Step::Reply(..) => {}
            }
        }
    }

    /// A delete waits no longer than the bucket needs, but for the fraction of a call that no
    /// header tells.
    #[test]
    fn a_delete_is_never_held_while_two_calls_are_there(
        limit in 2_u32..5_000,
        gaps in prop::collection::vec(0_u64..5_000, 1..300),
    ) {
        let mut bucket = Bucket::full(limit, f64::from(limit) / 3600.0);
        let mut budget = Budget::default();
        let mut now = Duration::ZERO;
        for gap in gaps {
            now += millis(gap);
            bucket.pass_to(now);
            if bucket.tokens >= 2.0 {
                prop_assert!(budget.due(Class::Delete, now).is_zero());
            }
            if budget.due(Class::Delete, now).is_zero() {
                let sent = budget.take(now);
                let told = bucket.call(now);
                budget.counted(sent, told, now);
            }
        }
    }
}
