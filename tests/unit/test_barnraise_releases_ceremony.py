"""Ceremonies: what a threshold signs takes effect, and nothing else does."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from barnraise.errors import (
    BarnraiseError,
    ConfigValueError,
    NoSuchVersionError,
    NotEnoughSignaturesError,
    OrderRefusedError,
    VerificationError,
)
from barnraise.message import BlobRef
from barnraise.releases import ceremony
from barnraise.releases.ceremony import Appoint, Rekey, Renew, Request, Withdraw
from barnraise.releases.charter import Charter, delegated
from barnraise.releases.index import IndexEntry, ReleaseIndex
from barnraise.releases.maintainer import KeyPair, PublicKey
from barnraise.releases.offline import Offline, check_root_chain
from barnraise.releases.proposal import Signing, check_base, propose
from ceremonies import (
    BOOTSTRAP,
    KEYS,
    NAMES,
    NEW_ONLINE,
    NOW,
    ONLINE,
    PAIRS,
    RUN,
    after,
    appointing,
    bootstrap,
    found,
    held_by,
    promoting,
    public,
    signed_by,
)
from laws import examples

STRANGER = KeyPair.from_seed(b"s" * 32)
REKEY = Rekey(public=NEW_ONLINE.public)


def begun(offline: Offline, request: Request) -> Signing:
    return propose(RUN, Charter.of(offline), request, NOW)


# -- laws ----------------------------------------------------------------------------------


@settings(deadline=None, max_examples=examples(15))
@given(data=st.data(), count=st.integers(1, 4))
def test_a_proposal_takes_effect_exactly_when_the_threshold_has_signed(data: st.DataObject, count: int) -> None:
    threshold = data.draw(st.integers(1, count))
    offline = held_by(*NAMES[:count], threshold=threshold)
    request = data.draw(st.sampled_from([promoting("0.1.2"), REKEY, Renew()]))
    signers = data.draw(st.lists(st.sampled_from(NAMES[:count]), unique=True))
    signing = signed_by(begun(offline, request), signers)
    assert signing.is_complete == (len(signers) >= threshold)
    for need in signing.needs:
        assert need.missing == max(0, threshold - len(signers))
        assert {key.name for key in need.waiting} == set(NAMES[:count]) - set(signers)
    if signing.is_complete:
        signing.applied_to(offline).check()
    else:
        with pytest.raises(NotEnoughSignaturesError) as refused:
            signing.applied_to(offline)
        assert all(name in str(refused.value) for name in set(NAMES[:count]) - set(signers))


@settings(deadline=None, max_examples=examples(15))
@given(data=st.data())
def test_a_change_of_maintainers_needs_the_old_threshold_and_the_new_one(data: st.DataObject) -> None:
    teams = st.lists(st.sampled_from(NAMES), unique=True, min_size=1).map(tuple)
    old, new = data.draw(teams), data.draw(teams)
    before, then = data.draw(st.integers(1, len(old))), data.draw(st.integers(1, len(new)))
    offline = held_by(*old, threshold=before)
    signers = data.draw(st.lists(st.sampled_from(sorted({*old, *new})), unique=True))
    signing = signed_by(begun(offline, appointing(*new, threshold=then)), signers)
    enough = len({*signers} & {*old}) >= before and len({*signers} & {*new}) >= then
    assert signing.is_complete == enough
    if enough:
        made = signing.applied_to(offline)
        assert set(Charter.of(made).maintainers) == set(public(*new))
        check_root_chain(made.roots)


@settings(deadline=None, max_examples=40)
@given(order=st.permutations(NAMES[:3]))
def test_the_order_of_signatures_does_not_matter(order: list[str]) -> None:
    offline = held_by(*NAMES[:3], threshold=3)
    made = signed_by(begun(offline, promoting("0.1.2")), order).applied_to(offline)
    assert made.stable_list == after(offline, promoting("0.1.2"), NAMES[:3]).stable_list


def paths(value: Any, so_far: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """Every place in a JSON value."""
    steps = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    inside = [path for key, inner in steps for path in paths(inner, (*so_far, key))]
    return [so_far, *inside] if so_far else inside


def altered(value: Any, path: tuple[Any, ...], what: str) -> Any:
    """A copy in which one place is another."""
    changed = copy.deepcopy(value)
    inner = changed
    for step in path[:-1]:
        inner = inner[step]
    old = inner[path[-1]]
    if what == "gone":
        del inner[path[-1]]
    elif isinstance(old, bool):
        inner[path[-1]] = not old
    elif isinstance(old, int):
        inner[path[-1]] = old + 1000  # of at_ms a second
    elif isinstance(old, str):
        inner[path[-1]] = old[:-1] + ("0" if old[-1:] != "0" else "1")
    else:
        inner[path[-1]] = [] if isinstance(old, list) else {}
    return changed


@pytest.mark.parametrize("what", ["gone", "another"])
@pytest.mark.parametrize("request_", [promoting("0.1.3"), REKEY, appointing("ada", "grace", threshold=2)], ids=type)
def test_no_place_of_a_signed_proposal_can_be_altered(request_: Request, what: str) -> None:
    offline = after(held_by("ada", "barbara", threshold=1), promoting("0.1.2"), ["ada"])
    signing = signed_by(begun(offline, request_), ["ada"])
    value = json.loads(signing.to_bytes())
    for path in paths(value):
        forged = altered(value, path, what)
        if forged == value:
            continue
        try:
            read = Signing.parse(json.dumps(forged).encode(), "the file")
        except BarnraiseError:
            continue
        # What may differ without anybody noticing: signatures that are left out, defaults that are not spelt out.
        assert read.after.digest == signing.after.digest, path
        assert read.before.digest == signing.before.digest, path
        mine, theirs = who_signed(read), who_signed(signing)
        assert mine.keys() == theirs.keys()
        assert all(mine[need] <= theirs[need] for need in mine)


def who_signed(signing: Signing) -> dict[tuple[str, str], set[PublicKey]]:
    """Part and whose signatures it needs -> who has signed."""
    return {(part, need.of): set(need.signed) for need in signing.needs for part in need.part.split(", ")}


# -- the life of a run ---------------------------------------------------------------------


def test_from_the_bootstrap_key_to_maintainers() -> None:
    offline = found()
    signing = begun(offline, appointing("ada", "barbara", "grace", threshold=2))
    assert [need.words for need in signing.needs] == [
        f"root: 1 of the bootstrap key so far; missing 1 of {key_id(BOOTSTRAP.public)}",
        "root, targets, stable: 2 of the new maintainers; missing 2 of ada, barbara, grace",
    ]
    made = signed_by(signing, [bootstrap(), "grace", "ada"]).applied_to(offline)
    charter = Charter.of(made)
    assert charter.has_maintainers
    assert (charter.maintainers, charter.threshold) == (public("ada", "barbara", "grace"), 2)
    assert charter.online == ONLINE.public
    assert made.roots[0] == offline.roots[0]
    assert made.promoted.promoted == ()
    assert (offline.stable, made.stable is not None) == (None, True)
    assert not any(key.keyval["public"] == BOOTSTRAP.public for key in charter.keys.values())


def key_id(public_hex: str) -> str:
    return PublicKey(name="x", public=public_hex).keyid[:10]


def test_promotions_add_up_and_can_be_withdrawn() -> None:
    offline = held_by("ada", "barbara", "grace", threshold=2)
    offline = after(offline, promoting("0.1.2", "a"), ["ada", "grace"])
    offline = after(offline, promoting("0.1.4", "b"), ["barbara", "grace"])
    assert [each.version for each in Charter.of(offline).promoted] == ["0.1.2", "0.1.4"]
    offline = after(offline, Withdraw(version="0.1.2"), ["barbara", "ada"])
    charter = Charter.of(offline)
    assert [each.version for each in charter.promoted] == ["0.1.4"]
    assert charter.versions == "root 2, targets 2, stable 4"
    with pytest.raises(OrderRefusedError, match=r"0\.1\.4 is the only promoted release; promote another one first"):
        begun(offline, Withdraw(version="0.1.4"))


def test_a_rotated_key_counts_no_more_and_what_it_signed_is_signed_anew() -> None:
    offline = after(held_by("ada", "barbara", threshold=2), promoting("0.1.2"), ["ada", "barbara"])
    request = ceremony.replacing(Charter.of(offline), "barbara", KEYS["katherine"])
    made = after(offline, request, ["ada", "barbara", "katherine"])
    charter = Charter.of(made)
    assert charter.maintainers == public("ada", "katherine")
    assert [each.version for each in charter.promoted] == ["0.1.2"]
    assert charter.stable is not None
    assert set(charter.stable.signatures) == {KEYS["ada"].keyid, KEYS["katherine"].keyid}
    with pytest.raises(OrderRefusedError, match="not one of those who may sign this: ada, katherine"):
        begun(made, promoting("0.1.3")).sign(PAIRS["barbara"])


def test_a_lost_key_is_revoked_without_it() -> None:
    offline = held_by("ada", "barbara", "grace", threshold=2)
    made = after(offline, ceremony.without(Charter.of(offline), "barbara"), ["ada", "grace"])
    assert Charter.of(made).maintainers == public("ada", "grace")


def test_the_online_key_is_replaced_by_root_and_nothing_else_changes() -> None:
    offline = after(held_by("ada", threshold=1), promoting("0.1.2"), ["ada"])
    made = after(offline, REKEY, ["ada"])
    charter = Charter.of(made)
    assert (charter.online, charter.maintainers) == (NEW_ONLINE.public, public("ada"))
    assert (made.stable, made.stable_list) == (offline.stable, offline.stable_list)
    assert not any(key.keyval["public"] == ONLINE.public for key in charter.keys.values())
    roles = {**charter.root.signed.roles, **delegated(charter.targets.signed)}
    keyid = PublicKey(name="online", public=NEW_ONLINE.public).keyid
    assert [roles[name].keyids for name in ("snapshot", "timestamp", "nightly")] == [[keyid]] * 3


def test_the_bootstrap_key_can_replace_the_online_key_too() -> None:
    made = after(found(), REKEY, [bootstrap()])
    assert Charter.of(made).online == NEW_ONLINE.public


def test_a_renewal_lasts_another_year() -> None:
    offline = after(held_by("ada", threshold=1), promoting("0.1.2"), ["ada"])
    later = NOW + timedelta(days=300)
    charter = Charter.of(after(offline, Renew(), ["ada"], at=later))
    assert charter.stable is not None
    for metadata in (charter.root, charter.targets, charter.stable):
        assert metadata.signed.expires == later + timedelta(days=365)
    assert charter.versions == "root 3, targets 3, stable 3"


def test_what_a_maintainer_reads_before_signing() -> None:
    offline = held_by("ada", "barbara", threshold=2)
    assert begun(offline, promoting("0.1.2")).proposal.changes == (
        "promotes 0.1.2",
        f"model b3:{'a' * 64}",
        f"manifest b3:{'a' * 64}",
        "promoted until now: none",
        "stable 2, until 2027-11-21, lists 0.1.2",
    )
    grace, ada = KEYS["grace"].words, KEYS["ada"].words
    assert begun(offline, appointing("ada", "grace", threshold=1)).proposal.changes == (
        f"adds {grace}",
        f"removes {KEYS['barbara'].words}",
        "asks for 1 signatures instead of 2",
        f"root 3 and targets 3, until 2027-11-21: 1 of {ada}, {grace}; online key {ONLINE.public[:10]}",
        "stable 2, until 2027-11-21, lists none",
    )
    assert begun(offline, REKEY).proposal.changes[0] == (
        f"replaces the online key {ONLINE.public[:10]} by {NEW_ONLINE.public[:10]}; whatever the old one signed counts "
        "no more"
    )


# -- refusals ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("request_", "reason"),
    [
        (appointing("ada", "ada", threshold=1), "have the same key"),
        (Appoint(maintainers=(KEYS["ada"], PAIRS["grace"].named("ada")), threshold=1), "have the same name"),
        (Appoint(maintainers=(KEYS["ada"], PAIRS["ada"].named("grace")), threshold=1), "have the same key"),
        (appointing("ada", "grace", threshold=3), "2 keys can give 1 to 2 signatures, the threshold is 3"),
        (appointing("ada", "grace", threshold=0), "the threshold is 0"),
        (appointing(threshold=1), "1 to 32 maintainers, these are 0"),
        (Appoint(maintainers=(PublicKey(name="x", public=ONLINE.public),), threshold=1), "is the online key"),
        (promoting("0.1.2"), "was promoted before"),
        (Withdraw(version="0.1.3"), "was never promoted; promoted: 0.1.2"),
        (Rekey(public=ONLINE.public), "is a key of this run already"),
        (Rekey(public=KEYS["ada"].public), "is a key of this run already"),
    ],
)
def test_what_cannot_be_asked_for(request_: Request, reason: str) -> None:
    offline = after(held_by("ada", "barbara", threshold=1), promoting("0.1.2"), ["ada"])
    with pytest.raises(OrderRefusedError, match=reason):
        begun(offline, request_)


@pytest.mark.parametrize("request_", [promoting("0.1.2"), Withdraw(version="0.1.2")])
def test_nothing_is_promoted_before_there_are_maintainers(request_: Request) -> None:
    with pytest.raises(OrderRefusedError, match="Begin with: barnraise keys init"):
        begun(found(), request_)


def test_the_bootstrap_key_is_no_maintainers() -> None:
    with pytest.raises(OrderRefusedError, match="is the bootstrap key of the run"):
        begun(found(), Appoint(maintainers=(PublicKey(name="x", public=BOOTSTRAP.public),), threshold=1))


def test_who_cannot_be_removed() -> None:
    charter = Charter.of(held_by("ada", "barbara", threshold=2))
    with pytest.raises(OrderRefusedError, match="there are 1 maintainers left and 2 have to sign"):
        ceremony.without(charter, "ada")
    assert ceremony.without(charter, "ada", threshold=1) == appointing("barbara", threshold=1)
    assert ceremony.without(charter, KEYS["ada"].public, threshold=1) == appointing("barbara", threshold=1)
    with pytest.raises(OrderRefusedError, match=r"'grace' is no maintainer of this run; these are: ada \("):
        ceremony.without(charter, "grace")
    with pytest.raises(OrderRefusedError, match="barnraise keys rotate online"):
        ceremony.without(charter, ONLINE.public)


def test_which_releases_cannot_be_promoted_or_withdrawn() -> None:
    blob = BlobRef(digest="b3:" + "1" * 64, size_bytes=1)
    entries = [
        IndexEntry(
            version=version, model_digest=blob.digest, manifest=blob, parent=None, keyframe=blob, patch=None, yanked=why
        )
        for version, why in (("0.1.0", None), ("0.1.1", "leaked a test"), ("0.1.2", None))
    ]
    index = ReleaseIndex(name=RUN, releases=tuple(entries), channels={"stable": "0.1.0"})
    charter = Charter.of(after(held_by("ada", threshold=1), promoting("0.1.0"), ["ada"]))
    with pytest.raises(NoSuchVersionError, match=r"0\.1\.7"):
        ceremony.promotion(charter, index, "0.1.7")
    with pytest.raises(OrderRefusedError, match=r"0\.1\.1 was yanked and cannot be promoted: leaked a test"):
        ceremony.promotion(charter, index, "0.1.1")
    assert ceremony.promotion(charter, index, "0.1.2").release.manifest == blob
    charter = Charter.of(after(held_by("ada", threshold=1), promoting("0.1.0"), ["ada"]))
    both = Charter.of(
        after(after(held_by("ada", threshold=1), promoting("0.1.0"), ["ada"]), promoting("0.1.2"), ["ada"])
    )
    with pytest.raises(OrderRefusedError, match=r"channel stable is at 0\.1\.0; .* barnraise rollback stable 0\.1\.2"):
        ceremony.withdrawal(both, index, "0.1.0")
    assert ceremony.withdrawal(charter, index, "0.1.2") == Withdraw(version="0.1.2")


def test_who_may_not_sign() -> None:
    offline = held_by("ada", "barbara", threshold=2)
    signing = signed_by(begun(offline, promoting("0.1.2")), ["ada"])
    with pytest.raises(
        OrderRefusedError, match=r"ada has signed this already; missing 1 of the maintainers \(barbara\)"
    ):
        signing.sign(PAIRS["ada"])
    for stranger in (STRANGER, bootstrap(), KeyPair(ONLINE.private_key), PAIRS["grace"]):
        with pytest.raises(OrderRefusedError, match="not one of those who may sign this: ada, barbara"):
            signing.sign(stranger)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda value: value["changes"].append("and nothing else"), "its words are not what it does"),
        (lambda value: value["changes"].clear(), "its words are not what it does"),
        (lambda value: value["after"]["stable"]["signed"].update(version=7), "something else than it says"),
        (lambda value: value["after"]["stable"]["signed"]["targets"].clear(), "something else than it says"),
        (lambda value: value["after"]["stable_list"]["promoted"].clear(), "its list of promoted releases is another"),
        (lambda value: value["after"].update(root=value["before"]["root"]), "something else than it says"),
        (lambda value: value["request"]["release"].update(model_digest="b3:" + "f" * 64), "its words are not"),
        (lambda value: value.update(at_ms=value["at_ms"] + 86_400_000), "its words are not"),
        (lambda value: value.update(at_ms=value["at_ms"] + 1000), "something else than it says"),
        (lambda value: value.update(run="other-lm"), "the metadata of 'tiny-lm', not of other-lm"),
        (lambda value: value["before"]["root"]["signed"].update(version=7), "is not signed as it has to be"),
        (lambda value: value["before"]["targets"]["signatures"].clear(), "is not signed as it has to be"),
        (
            lambda value: value["after"]["stable"]["signatures"][0].update(sig="0" * 128),
            "in stable the signature of ada does not hold",
        ),
        (lambda value: value["before"].pop("root"), "not the metadata of a run"),
    ],
)
def test_what_was_altered_is_found_out(change: Callable[[dict[str, Any]], None], reason: str) -> None:
    offline = held_by("ada", "barbara", threshold=2)
    value = json.loads(signed_by(begun(offline, promoting("0.1.2")), ["ada"]).to_bytes())
    change(value)
    with pytest.raises(VerificationError, match=reason):
        Signing.parse(json.dumps(value).encode(), "the file")


@pytest.mark.parametrize("data", [b"", b"\xff", b"[]", b"{}", b"[" * 100_000, b"1" * 5000, b" " * (5 << 20)])
def test_what_is_no_proposal(data: bytes) -> None:
    with pytest.raises(BarnraiseError):
        Signing.parse(data, "the file")


def test_a_proposal_is_for_one_run_as_it_is_now() -> None:
    offline = held_by("ada", "barbara", threshold=1)
    signing = signed_by(begun(offline, promoting("0.1.2")), ["ada"])
    check_base(signing, RUN, Charter.of(offline), NOW)
    with pytest.raises(OrderRefusedError, match="is for tiny-lm, not for other-lm"):
        check_base(signing, "other-lm", Charter.of(offline), NOW)
    with pytest.raises(OrderRefusedError, match="for another run that is called tiny-lm too"):
        check_base(signing, RUN, Charter.of(held_by("ada", "grace", threshold=1)), NOW)
    newer = Charter.of(after(offline, promoting("0.1.3"), ["barbara"]))
    with pytest.raises(
        OrderRefusedError, match=r"from root 2, targets 2, stable 1; tiny-lm is at .* stable 2\. Propose"
    ):
        check_base(signing, RUN, newer, NOW)
    with pytest.raises(OrderRefusedError, match="was valid until 2027-11-21"):
        check_base(signing, RUN, Charter.of(offline), NOW + timedelta(days=366))
    with pytest.raises(OrderRefusedError, match="set the clock right"):
        check_base(signing, RUN, Charter.of(offline), NOW - timedelta(days=2))


# -- keys ----------------------------------------------------------------------------------


@settings(deadline=None, max_examples=5)
@given(seed=st.binary(min_size=32, max_size=32), passphrase=st.none() | st.text("abc \u00e9", min_size=1, max_size=8))
def test_a_key_comes_back_from_its_file(seed: bytes, passphrase: str | None) -> None:
    pair = KeyPair.from_seed(seed)
    again = KeyPair.from_pem(pair.to_pem(passphrase), "the file", passphrase)
    assert again.named("ada") == pair.named("ada")
    assert pair.keyid == pair.named("ada").keyid == pair.named("ada").as_tuf().keyid


@pytest.mark.parametrize(
    ("data", "passphrase", "reason"),
    [
        (PAIRS["ada"].to_pem("secret"), None, "has a passphrase, and none was given"),
        (PAIRS["ada"].to_pem("secret"), "guess", "the passphrase is wrong"),
        (b"hello", None, "it is no private key"),
        (b"", "secret", "it is no private key"),
    ],
)
def test_what_is_no_key_file(data: bytes, passphrase: str | None, reason: str) -> None:
    with pytest.raises(ConfigValueError, match=reason):
        KeyPair.from_pem(data, "the file", passphrase)


@pytest.mark.parametrize("data", [b"", b"{}", b"[1]", b'{"name":"ada","public":"00"}', PAIRS["ada"].to_pem()])
def test_what_is_no_public_key_file(data: bytes) -> None:
    with pytest.raises(BarnraiseError):
        PublicKey.parse(data, "ada.pub")


@pytest.mark.parametrize("name", ["", "Ada", "a b", "../x", "-a", "a" * 33, "ada\n"])
def test_what_is_no_name(name: str) -> None:
    with pytest.raises(BarnraiseError):
        PAIRS["ada"].named(name)
