//! The gate on paused time.

#![allow(clippy::unwrap_used)]

use std::sync::Mutex as StdMutex;

use cattle_schemas::status::CallBudget;
use tokio::task::JoinSet;

use super::*;

fn told(remaining: u32) -> Option<Told> {
    Some(Told {
        limit: 3600,
        remaining,
        full_in: None,
    })
}

/// A gate that was told how many calls are left of 3,600.
async fn left(remaining: u32) -> Gate {
    let gate = Gate::open();
    let permit = gate.enter(Class::Read).await.unwrap();
    permit.answered(told(remaining));
    gate
}

/// What happened, in order, with the seconds since the beginning.
#[derive(Clone)]
struct Diary {
    began: Instant,
    entries: Arc<StdMutex<Vec<(String, u64)>>>,
}

impl Diary {
    fn new() -> Self {
        Self {
            began: Instant::now(),
            entries: Arc::default(),
        }
    }

    /// Enters, writes that down, and has the call answered at once, without headers.
    async fn enter(self, gate: Gate, class: Class, name: String) {
        let word = match gate.enter(class).await {
            Ok(permit) => {
                permit.answered(None);
                name
            }
            Err(_) => format!("{name} gave up"),
        };
        let seconds = self.began.elapsed().as_secs();
        self.entries.lock().unwrap().push((word, seconds));
    }

    fn entries(&self) -> Vec<(String, u64)> {
        self.entries.lock().unwrap().clone()
    }

    fn names(&self) -> Vec<String> {
        self.entries().into_iter().map(|(name, _)| name).collect()
    }
}

/// Lets everybody get in line.
async fn settle() {
    for _ in 0..100 {
        tokio::task::yield_now().await;
    }
}

async fn line(gate: &Gate, classes: &[Class]) -> (Diary, JoinSet<()>) {
    let (diary, mut tasks) = (Diary::new(), JoinSet::new());
    for (n, class) in classes.iter().enumerate() {
        let name = format!("{} {n}", class.as_str());
        tasks.spawn(diary.clone().enter(gate.clone(), *class, name));
        settle().await;
    }
    (diary, tasks)
}

#[tokio::test(start_paused = true)]
async fn while_there_is_room_nobody_waits() {
    let gate = Gate::open();
    let (diary, tasks) = line(&gate, &[Class::Read; 50]).await;
    assert_eq!(diary.entries().len(), 50);
    tasks.join_all().await;
    assert_eq!(diary.began.elapsed(), Duration::ZERO);
}

#[tokio::test(start_paused = true)]
async fn the_most_important_goes_first_and_the_oldest_among_equals() {
    let gate = left(0).await;
    let classes = [
        Class::Create,
        Class::Delete,
        Class::List,
        Class::Delete,
        Class::Delete,
    ];
    let (diary, mut tasks) = line(&gate, &classes).await;
    for _ in 0..4 {
        tasks.join_next().await;
    }
    assert_eq!(
        diary.entries(),
        [
            ("delete 1".to_owned(), 1),
            ("delete 3".to_owned(), 2),
            ("delete 4".to_owned(), 3),
            ("list 2".to_owned(), 4),
        ]
    );
}

#[tokio::test(start_paused = true)]
async fn a_delete_never_waits_behind_a_create() {
    let gate = left(362).await;
    let creates = vec![Class::Create; 100];
    let (diary, tasks) = line(&gate, &creates).await;
    assert_eq!(diary.names(), ["create 0", "create 1"]);
    let (deletes, done) = line(&gate, &[Class::Delete; 360]).await;
    done.join_all().await;
    assert_eq!(deletes.began.elapsed(), Duration::ZERO);
    assert_eq!(deletes.entries().len(), 360);
    assert_eq!(diary.entries().len(), 2, "the reserve is not for creates");
    drop(tasks);
}

#[tokio::test(start_paused = true)]
async fn whoever_waits_wakes_when_its_call_is_due() {
    let gate = left(360).await;
    let (diary, tasks) = line(&gate, &[Class::Create; 5]).await;
    tasks.join_all().await;
    let seconds: Vec<u64> = diary.entries().into_iter().map(|(_, at)| at).collect();
    assert_eq!(seconds, [1, 2, 3, 4, 5]);
    assert!(diary.began.elapsed() < Duration::from_millis(5_010));
}

#[tokio::test(start_paused = true)]
async fn news_of_more_room_wakes_who_waits() {
    let gate = left(0).await;
    let (diary, tasks) = line(&gate, &[Class::Create, Class::Create]).await;
    let permit = gate.enter(Class::Delete).await.unwrap();
    permit.answered(told(3000));
    tasks.join_all().await;
    assert_eq!(diary.began.elapsed().as_secs(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_stream_of_creates_does_not_starve_a_read() {
    let gate = left(360).await;
    let (diary, mut tasks) = line(&gate, &[Class::Read]).await;
    for n in 0..30 {
        let create = diary.clone();
        tasks.spawn(create.enter(gate.clone(), Class::Create, format!("create {n}")));
        tokio::time::sleep(Duration::from_millis(900)).await;
    }
    let read = diary
        .entries()
        .into_iter()
        .find(|(name, _)| name == "read 0");
    assert_eq!(read, Some(("read 0".to_owned(), 10)));
}

#[tokio::test(start_paused = true)]
async fn the_wait_has_an_end() {
    let gate = left(0).await;
    let (diary, tasks) = line(&gate, &[Class::Create]).await;
    tasks.join_all().await;
    assert_eq!(diary.entries(), [("create 0 gave up".to_owned(), 60)]);
    assert_eq!(gate.lock().line.len(), 0);
    let NoRoom { class, retry_in } = {
        let wait = gate.enter(Class::Create);
        wait.await.unwrap_err()
    };
    assert_eq!(class, Class::Create);
    assert_eq!(retry_in.as_secs(), 361 - 120);
}

#[tokio::test(start_paused = true)]
async fn the_line_has_an_end() {
    let gate = left(0).await;
    let (_, tasks) = line(&gate, &[]).await;
    let mut waiting = Vec::new();
    for _ in 0..MAX_WAITING {
        let mut wait = Box::pin(gate.enter(Class::Create));
        assert!(futures_util::poll!(&mut wait).is_pending());
        waiting.push(wait);
    }
    assert!(gate.enter(Class::Delete).await.is_err());
    waiting.pop();
    assert!(gate.enter(Class::Delete).await.is_ok());
    drop(tasks);
}

#[tokio::test(start_paused = true)]
async fn who_leaves_gives_its_place_to_the_next() {
    let gate = left(0).await;
    let mut first = Box::pin(gate.enter(Class::Delete));
    assert!(futures_util::poll!(&mut first).is_pending());
    let (diary, tasks) = line(&gate, &[Class::Delete]).await;
    drop(first);
    tasks.join_all().await;
    assert_eq!(diary.began.elapsed().as_secs(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_429_holds_everything_and_deletes_only_for_a_second() {
    let gate = left(3000).await;
    let permit = gate.enter(Class::Read).await.unwrap();
    let held = permit.refused(told(2000), |_| Duration::from_secs(3));
    assert_eq!(held.as_secs(), 3);
    let classes = [Class::Create, Class::List, Class::Read, Class::Delete];
    let (diary, tasks) = line(&gate, &classes).await;
    tasks.join_all().await;
    assert_eq!(
        diary.entries(),
        [
            ("delete 3".to_owned(), 1),
            ("list 1".to_owned(), 3),
            ("create 0".to_owned(), 3),
            ("read 2".to_owned(), 3),
        ]
    );
}

#[tokio::test(start_paused = true)]
async fn creates_in_line_count_as_begun() {
    let gate = left(365).await;
    let wall = chrono::Utc::now();
    assert_eq!(gate.creates(0, wall).creates, 5);
    assert_eq!(gate.creates(2, wall).creates, 3);
    let held = gate.enter(Class::Create).await.unwrap();
    assert_eq!(gate.creates(0, wall).creates, 4);
    let gate = left(360).await;
    let (_, tasks) = line(&gate, &[Class::Create; 3]).await;
    let calls = gate.creates(0, wall);
    assert_eq!(calls.creates, 0);
    assert_eq!((calls.more_at.unwrap() - wall).num_seconds(), 4);
    drop((held, tasks));
}

#[tokio::test(start_paused = true)]
async fn a_permit_that_is_dropped_counts_as_a_call() {
    let gate = left(100).await;
    drop(gate.enter(Class::Delete).await.unwrap());
    let status: CallBudget = gate.status().unwrap();
    assert_eq!((status.remaining, status.used_last_hour), (99, 2));
    gate.enter(Class::Delete).await.unwrap().unsent();
    assert_eq!(gate.status().unwrap(), status);
}

#[tokio::test(start_paused = true)]
async fn how_long_a_429_holds_follows_from_what_it_tells_itself() {
    let gate = Gate::open();
    let permit = gate.enter(Class::Read).await.unwrap();
    // Sixty calls, of which the documented refill is one a minute; this one is full in a minute.
    let told = Told {
        limit: 60,
        remaining: 0,
        full_in: Some(Duration::from_secs(60)),
    };
    let held = permit.refused(Some(told), |refill| Duration::from_secs_f64(1.0 / refill));
    assert_eq!(held.as_secs(), 1);
}
