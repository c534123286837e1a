//! Which pairs of server type and location are tried, in which order, and why others are not.

use cattle_core::{
    candidates::{Choice, choose, is_possible},
    catalogue::{Architecture, Catalogue, Image, ImageAnswer, ImageKind, Offer, ServerType},
    cost::Price,
    desired::Placement,
};
use proptest::prelude::*;

use crate::fixture::*;

const TYPES: [&str; 5] = ["cax11", "cpx11", "cpx12", "cpx22", "cx23"];
const LOCATIONS: [&str; 4] = ["ash", "fsn1", "hel1", "nbg1"];

fn placement(image: &str, server_types: &[&str], locations: &[&str]) -> Placement {
    let texts = |texts: &[&str]| texts.iter().map(ToString::to_string).collect();
    Placement {
        image: image.to_owned(),
        server_types: texts(server_types),
        locations: texts(locations),
    }
}

/// A type of 2 cores that is offered, in stock, in these locations.
fn server_type(
    id: u64,
    category: &str,
    disk_gb: u32,
    hourly: &str,
    locations: &[&str],
) -> ServerType {
    let price = Price {
        hourly: hourly.parse().unwrap(),
        monthly: None,
    };
    ServerType {
        id: Some(id),
        architecture: Some(Architecture::X86),
        disk_gb: Some(disk_gb),
        dedicated: None,
        cores: Some(2),
        memory_mb: Some(4_096),
        category: Some(category.to_owned()),
        offers: locations
            .iter()
            .map(|place| ((*place).to_owned(), available()))
            .collect(),
        prices: LOCATIONS.map(|place| (place.to_owned(), price)).into(),
    }
}

fn available() -> Offer {
    Offer {
        available: true,
        recommended: true,
        unavailable_after: None,
    }
}

fn image(id: u64, architecture: Architecture, disk_gb: u32) -> Image {
    Image {
        id,
        title: format!("image {id}"),
        kind: ImageKind::Snapshot,
        architecture: Some(architecture),
        disk_gb: Some(disk_gb),
        created: Some(at(0)),
        unavailable_after: None,
    }
}

/// Like Hetzner's of late 2026, and snapshots of both architectures.
fn catalogue() -> Catalogue {
    let eu = ["fsn1", "hel1", "nbg1"];
    let mut types = [
        (
            "cax11",
            server_type(45, "cost_optimized", 40, "0.0096", &eu),
        ),
        (
            "cpx11",
            server_type(22, "regular_purpose", 40, "0.0280", &["ash"]),
        ),
        (
            "cpx12",
            server_type(108, "regular_purpose", 40, "0.0184", &eu),
        ),
        (
            "cpx22",
            server_type(109, "regular_purpose", 80, "0.0312", &eu),
        ),
        (
            "cx23",
            server_type(114, "cost_optimized", 40, "0.0088", &eu),
        ),
    ];
    types[0].1.architecture = Some(Architecture::Arm);
    let retired = Offer {
        available: false,
        recommended: false,
        unavailable_after: Some(at(0)),
    };
    types[1].1.offers.insert("nbg1".to_owned(), retired);
    types[2].1.cores = Some(1);
    let both = vec![
        image(123_457, Architecture::Arm, 40),
        image(123_456, Architecture::X86, 40),
    ];
    let x86 = vec![image(123_456, Architecture::X86, 40)];
    let large = vec![image(9, Architecture::X86, 80)];
    Catalogue {
        currency: "EUR".to_owned(),
        server_types: types.map(|(name, it)| (name.to_owned(), it)).into(),
        images: [
            ("role=a", ImageAnswer::Found(both)),
            ("123456", ImageAnswer::Found(x86)),
            ("large", ImageAnswer::Found(large)),
        ]
        .map(|(text, answer)| (text.to_owned(), answer))
        .into(),
        ..Catalogue::default()
    }
}

fn tried(choice: &Choice) -> Vec<String> {
    choice
        .candidates
        .iter()
        .map(|it| format!("{} in {} with {}", it.server_type, it.location, it.image))
        .collect()
}

fn rejected(image: &str, server_type: &str, location: &str) -> String {
    let placement = placement(image, &[server_type], &[location]);
    let choice = choose(&placement, &catalogue(), at(100));
    assert_eq!(choice.candidates, []);
    choice.rejected[0].to_string()
}

#[test]
fn each_type_gets_the_image_of_its_architecture() {
    let placement = placement("role=a", &["cx23", "cax11"], &["nbg1"]);
    let choice = choose(&placement, &catalogue(), at(100));
    assert_eq!(
        tried(&choice),
        ["cx23 in nbg1 with 123456", "cax11 in nbg1 with 123457"]
    );
    assert_eq!(choice.candidates[0].image_kind, Some(ImageKind::Snapshot));
}

#[test]
fn what_is_said_clearly_is_not_tried() {
    insta::assert_snapshot!(rejected("123456", "cax11", "nbg1"), @"cax11 in nbg1: its architecture is arm, image `123456` is for x86");
    insta::assert_snapshot!(rejected("large", "cx23", "nbg1"), @"cx23 in nbg1: its disk has 40 GB, image `large` needs 80 GB");
    insta::assert_snapshot!(rejected("123456", "cx24", "nbg1"), @"cx24 in nbg1: there is no such type, did you mean `cx23`?");
    insta::assert_snapshot!(rejected("123456", "cx22", "nbg1"), @"cx22 in nbg1: the type is retired, use `cx23`");
    insta::assert_snapshot!(rejected("123456", "cx23", "ash"), @"cx23 in ash: the type is not offered there, but in fsn1, hel1, nbg1");
}

#[test]
fn a_type_retired_in_one_location_names_the_cheapest_that_is_no_smaller() {
    insta::assert_snapshot!(rejected("123456", "cpx11", "nbg1"), @"cpx11 in nbg1: retired there since 2026-09-21, use `cpx22`");
    let here = placement("123456", &["cpx11"], &["nbg1", "ash"]);
    let choice = choose(&here, &catalogue(), at(100));
    assert_eq!(tried(&choice), ["cpx11 in ash with 123456"]);
    let before = choose(&here, &catalogue(), at(0) - secs(1));
    assert_eq!(before.candidates.len(), 2, "announced is not over");
}

#[test]
fn what_is_said_to_be_in_stock_comes_first_and_the_rest_is_tried_all_the_same() {
    let mut catalogue = catalogue();
    for (server_type, location) in [("cx23", "nbg1"), ("cpx22", "fsn1")] {
        let offers = &mut catalogue.server_types.get_mut(server_type).unwrap().offers;
        offers.get_mut(location).unwrap().available = false;
    }
    let placement = placement("123456", &["cx23", "cpx22"], &["nbg1", "fsn1"]);
    let choice = choose(&placement, &catalogue, at(100));
    assert_eq!(
        tried(&choice),
        [
            "cx23 in fsn1 with 123456",
            "cpx22 in nbg1 with 123456",
            "cx23 in nbg1 with 123456",
            "cpx22 in fsn1 with 123456",
        ]
    );
}

#[test]
fn types_and_locations_may_be_named_by_number() {
    let placement = placement("role=a", &["45", "114", "999"], &["2"]);
    let choice = choose(&placement, &catalogue(), at(100));
    assert_eq!(
        tried(&choice),
        [
            "45 in 2 with 123457",
            "114 in 2 with 123456",
            "999 in 2 with 123456"
        ]
    );
}

#[test]
fn an_image_that_could_not_be_read_is_sent_as_it_is_written_unless_it_is_a_selector() {
    let mut catalogue = catalogue();
    let message = "Hetzner did not answer in time".to_owned();
    for text in ["debian-13", "role=b"] {
        let unread = ImageAnswer::Unread {
            message: message.clone(),
        };
        catalogue.images.insert(text.to_owned(), unread);
    }
    let by_name = placement("debian-13", &["cx23"], &["nbg1"]);
    let choice = choose(&by_name, &catalogue, at(100));
    assert_eq!(tried(&choice), ["cx23 in nbg1 with debian-13"]);
    let by_label = placement("role=b", &["cx23"], &["nbg1"]);
    assert_eq!(choose(&by_label, &catalogue, at(100)), Choice::default());
}

#[test]
fn an_image_whose_time_is_over_is_not_sent() {
    let mut catalogue = catalogue();
    let mut old = image(1, Architecture::X86, 5);
    old.unavailable_after = Some(at(200));
    catalogue
        .images
        .insert("debian-11".to_owned(), ImageAnswer::Found(vec![old]));
    let placement = placement("debian-11", &["cx23"], &["nbg1"]);
    assert!(is_possible(&placement, &catalogue, at(199)));
    let choice = choose(&placement, &catalogue, at(200));
    insta::assert_snapshot!(choice.refusal(), @"no server type can be used in any location: cx23 in nbg1: image `debian-11` is not usable for new servers any more; change `serverTypes`, `locations` or `image` in the spec's `hetzner` or in `cattle.hetzner`");
}

#[test]
fn nothing_known_forbids_nothing() {
    let placement = placement("debian-13", &["cx23", "cx99"], &["nbg1", "moon"]);
    let choice = choose(&placement, &Catalogue::default(), at(100));
    assert_eq!(choice.rejected, []);
    let order: Vec<_> = choice
        .candidates
        .iter()
        .map(|it| (it.server_type.as_str(), it.location.as_str()))
        .collect();
    assert_eq!(order, placement.candidates().collect::<Vec<_>>());
    // Prices alone name types, and say nothing of others.
    let mut prices = Catalogue::default();
    let priced = ServerType {
        offers: Default::default(),
        ..server_type(114, "x", 40, "1", &[])
    };
    prices.server_types.insert("cx23".to_owned(), priced);
    assert_eq!(choose(&placement, &prices, at(100)).rejected, []);
}

fn some_of(all: &'static [&'static str]) -> impl Strategy<Value = Vec<&'static str>> {
    let some = prop::sample::subsequence(all, 1..=all.len());
    some.prop_shuffle()
}

/// A catalogue in which anything may be out of stock, retired or missing.
fn any_catalogue() -> impl Strategy<Value = Catalogue> {
    let offers = TYPES.len() * LOCATIONS.len();
    prop::collection::vec((0..4_u8, any::<bool>()), offers).prop_map(|fates| {
        let mut catalogue = catalogue();
        let pairs = TYPES
            .iter()
            .flat_map(|kind| LOCATIONS.map(|place| (*kind, place)));
        for ((kind, place), (fate, available)) in pairs.zip(fates) {
            let offers = &mut catalogue.server_types.get_mut(kind).unwrap().offers;
            if fate == 0 {
                offers.remove(place);
            } else {
                let offer = Offer {
                    available,
                    recommended: false,
                    unavailable_after: (fate == 1).then(|| at(50)),
                };
                offers.insert(place.to_owned(), offer);
            }
        }
        catalogue
    })
}

proptest! {
    #[test]
    fn every_pair_is_tried_or_explained_once(
        catalogue in any_catalogue(),
        types in some_of(&TYPES),
        places in some_of(&LOCATIONS),
        image in prop::sample::select(vec!["role=a", "123456", "large", "debian-13"]),
    ) {
        let placement = placement(image, &types, &places);
        let choice = choose(&placement, &catalogue, at(100));
        let mut pairs: Vec<_> = choice.candidates.iter()
            .map(|it| (it.server_type.as_str(), it.location.as_str()))
            .chain(choice.rejected.iter()
                .map(|it| (it.server_type.as_str(), it.location.as_str())))
            .collect();
        pairs.sort_unstable();
        let mut all: Vec<_> = placement.candidates().collect();
        all.sort_unstable();
        prop_assert_eq!(pairs, all);
        prop_assert_eq!(is_possible(&placement, &catalogue, at(100)), !choice.candidates.is_empty());
        for it in &choice.candidates {
            let kind = &catalogue.server_types[&it.server_type];
            if let Some(offer) = kind.offers.get(&it.location) {
                prop_assert_eq!(offer.retired(at(100)), None);
            } else {
                prop_assert!(kind.offers.is_empty());
            }
        }
    }

    #[test]
    fn flags_of_stock_order_and_never_forbid(
        catalogue in any_catalogue(),
        types in some_of(&TYPES),
        places in some_of(&LOCATIONS),
    ) {
        let placement = placement("role=a", &types, &places);
        let choice = choose(&placement, &catalogue, at(100));
        let mut none = catalogue.clone();
        let offers = none.server_types.values_mut().flat_map(|it| it.offers.values_mut());
        offers.for_each(|offer| offer.available = false);
        let plain = choose(&placement, &none, at(100));
        prop_assert_eq!(&choice.rejected, &plain.rejected);
        // Without flags it is the spec's order; with them, two parts of it, each in that order.
        let said = |it: &&cattle_core::candidates::Candidate| {
            let offers = &catalogue.server_types[&it.server_type].offers;
            offers.get(&it.location).is_some_and(|offer| offer.available)
        };
        let (first, rest): (Vec<_>, Vec<_>) = plain.candidates.iter().partition(said);
        let expected: Vec<_> = first.into_iter().chain(rest).cloned().collect();
        prop_assert_eq!(choice.candidates, expected);
    }
}
