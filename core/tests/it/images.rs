//! Which of several images is taken.

use cattle_core::{
    catalogue::{Architecture, Image, ImageAnswer, ImageKind},
    image_ref::ImageRef,
    images::{Listed, newest},
};

use crate::fixture::*;

const SELECTOR: &str = "role=cattle-image";

fn snapshot(id: u64, architecture: Architecture, created: u64) -> Listed {
    Listed {
        image: Image {
            id,
            title: "cattle image".to_owned(),
            kind: ImageKind::Snapshot,
            architecture: Some(architecture),
            disk_gb: Some(40),
            created: Some(at(created)),
            unavailable_after: None,
        },
        not_available: None,
    }
}

fn answer(text: &str, found: Vec<Listed>) -> ImageAnswer {
    newest(text, &ImageRef::parse(text).unwrap(), found, at(100))
}

fn ids(answer: &ImageAnswer) -> Vec<u64> {
    match answer {
        ImageAnswer::Found(images) => images.iter().map(|image| image.id).collect(),
        other => panic!("{other:?}"),
    }
}

fn missing(text: &str, found: Vec<Listed>) -> String {
    match answer(text, found) {
        ImageAnswer::Missing { message, hint } => format!("{message}; {hint}"),
        other => panic!("{other:?}"),
    }
}

#[test]
fn the_newest_of_each_architecture_is_taken_whatever_the_order() {
    use Architecture::{Arm, X86};
    let found = vec![
        snapshot(1, X86, 10),
        snapshot(4, Arm, 5),
        snapshot(3, X86, 30),
        snapshot(2, X86, 20),
        // Moved to the next page while it was read.
        snapshot(3, X86, 30),
    ];
    assert_eq!(ids(&answer(SELECTOR, found)), [3, 4]);
}

#[test]
fn what_is_not_usable_is_passed_over() {
    use Architecture::X86;
    let mut creating = snapshot(3, X86, 30);
    creating.not_available = Some("creating".to_owned());
    let mut over = snapshot(2, X86, 20);
    over.image.unavailable_after = Some(at(100));
    let mut ending = snapshot(1, X86, 10);
    ending.image.unavailable_after = Some(at(101));
    let found = vec![creating.clone(), over.clone(), ending];
    assert_eq!(ids(&answer(SELECTOR, found)), [1]);
    insta::assert_snapshot!(missing("3", vec![creating]), @"image 3 is not available (creating); name one that `hcloud image list` shows, or choose by label, as `role=cattle-image` does");
    insta::assert_snapshot!(missing("debian-11", vec![over]), @"image 2 (cattle image) is not usable for new servers since 2026-09-21; names are Hetzner's own (`hcloud image list --type system`); a snapshot goes by its id or its labels");
}

#[test]
fn two_of_the_same_age_are_not_chosen_between() {
    use Architecture::{Arm, X86};
    let found = vec![snapshot(1, X86, 10), snapshot(2, X86, 10)];
    let ImageAnswer::Ambiguous { message, hint } = answer(SELECTOR, found) else {
        panic!("one was chosen");
    };
    insta::assert_snapshot!(message, @"images 1 and 2 (x86) of `role=cattle-image` were both created at 2026-09-21 14:13:30 UTC");
    insta::assert_snapshot!(hint, @"name one by its id, or leave the labels on one alone");
    let each_its_own = vec![snapshot(1, X86, 10), snapshot(2, Arm, 10)];
    assert_eq!(ids(&answer(SELECTOR, each_its_own)), [1, 2]);
}

#[test]
fn what_is_not_there_says_where_to_look() {
    insta::assert_snapshot!(missing("123456", vec![]), @"there is no image 123456 in this project; name one that `hcloud image list` shows, or choose by label, as `role=cattle-image` does");
    insta::assert_snapshot!(missing("debian-31", vec![]), @"there is no image of the name `debian-31`; names are Hetzner's own (`hcloud image list --type system`); a snapshot goes by its id or its labels");
    insta::assert_snapshot!(missing(SELECTOR, vec![]), @"no snapshot has the labels `role=cattle-image`; label one (`hcloud image add-label <id> <key>=<value>`), or change `role=cattle-image`; it is looked for again every minute");
}
