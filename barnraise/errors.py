"""Every error that Barnraise raises on purpose, as one tree.

    BarnraiseError                      exit  http  family page: docs/errors.md
    |-- UsageError                        2    400  wrong arguments on the command line
    |-- ConfigError                       3    400  a configuration file
    |   |-- ConfigMissingError
    |   |-- ConfigUnknownKeyError
    |   `-- ConfigValueError
    |-- UpdateError                       4    422  the bytes of an update
    |   |-- TruncatedUpdateError
    |   |-- OversizedUpdateError                413
    |   |-- NonCanonicalUpdateError
    |   |-- NonFiniteUpdateError
    |   |-- IndexOutOfRangeError
    |   |-- UnsupportedFormatError
    |   `-- WrongBaseError                      409
    |-- MessageError                      5    400  what a stranger says over HTTP
    |   |-- UnknownFieldError
    |   |-- BadNameError
    |   |-- BadSignatureError                   403
    |   |-- BannedError                         403
    |   |-- RetiredKeyError                     403
    |   |-- SuccessionError                     409
    |   |-- ReplayedMessageError                409
    |   |-- TeamError                           422
    |   |-- ClockSkewError
    |   |-- LeaseError                          410
    |   |-- OffsetMismatchError                 409
    |   |-- QuotaExceededError                  429
    |   |-- NotFoundError                       404
    |   |-- OversizedMessageError               413
    |   |-- BadRangeError                       416
    |   |-- TooSlowError                        408
    |   `-- UnsupportedEncodingError            415
    |-- ReleaseError                      6    404  versions, tags, manifests
    |   |-- BadVersionError                     400
    |   |-- NoSuchVersionError
    |   |-- TagExistsError                      409
    |   |-- BrokenChainError
    |   |-- OrderRefusedError                   409
    |   `-- VerificationError                   422
    |       |-- ExpiredMetadataError
    |       |-- OlderMetadataError
    |       `-- NotEnoughSignaturesError
    |-- StorageError                      7    500  disks and folders
    |   |-- BlobMissingError                    404
    |   |-- DiskFullError                       507
    |   |-- FolderLockedError                   409
    |   |-- NotARunFolderError
    |   |-- LedgerVersionError
    |   |-- DamagedStoreError
    |   `-- BackupError
    |-- NetworkError                      8    502  reaching somebody else
    |   |-- UnreachableError
    |   |-- RefusedError
    |   |-- PortInUseError
    |   `-- SwarmError
    |-- MergeError                        9    500  the mathematics of a round
    |   |-- NotEnoughUpdatesError
    |   `-- UnknownStrategyError
    |-- AcceptanceError                  10    500  a suite that cannot be run
    |-- InstallationError                11    500  this Python environment
    |   |-- MissingExtraError
    |   `-- NameClashError
    |-- RayLostError                     12    503  the Ray that computes has died
    |-- CheckpointError                 13    422  models in local files
    |   |-- NotACheckpointError
    |   |-- MismatchedCheckpointsError
    |   |-- NonFiniteCheckpointError
    |   `-- ChangedCheckpointError              409
    |-- MachineError                    14    500  what a volunteer's machine can do, and may
    |   |-- NotEnoughMemoryError
    |   `-- BudgetSpentError
    |-- NodeError                       15    409  a node of yours, and what it was asked
    |   |-- NoNodeError                       404
    |   `-- NotAgreedError                    403
    |-- NodeCrashedError                16    500  a fault of the node's own, with a report
    `-- CannotJoinError                 17    500  what the doctor says of this machine

``exit_code`` is what a command returns; ``http_status`` what the gateway answers. Both
belong to the class, never to the place that raises. A message says what was found, what
was expected and what to do next. Wrong call order inside our own code is not here: it is
``assert`` or ``RuntimeError``.

The file is long because it is one list: the tree is drawn, named and defined in one place, so that a
test can compare the three, and everybody imports an error from here whatever family it is of.
"""

from __future__ import annotations

from typing import ClassVar

__all__ = [
    "AcceptanceError",
    "BadNameError",
    "BadRangeError",
    "BadSignatureError",
    "BadVersionError",
    "BannedError",
    "BarnraiseError",
    "BlobMissingError",
    "BrokenChainError",
    "BudgetSpentError",
    "CannotJoinError",
    "ChangedCheckpointError",
    "CheckpointError",
    "ClockSkewError",
    "ConfigError",
    "ConfigMissingError",
    "ConfigUnknownKeyError",
    "ConfigValueError",
    "DiskFullError",
    "FolderLockedError",
    "IndexOutOfRangeError",
    "InstallationError",
    "LeaseError",
    "LedgerVersionError",
    "MachineError",
    "MergeError",
    "MessageError",
    "MismatchedCheckpointsError",
    "MissingExtraError",
    "NameClashError",
    "NetworkError",
    "NoNodeError",
    "NoSuchVersionError",
    "NodeCrashedError",
    "NodeError",
    "NonCanonicalUpdateError",
    "NonFiniteCheckpointError",
    "NonFiniteUpdateError",
    "NotACheckpointError",
    "NotARunFolderError",
    "NotAgreedError",
    "NotEnoughMemoryError",
    "NotEnoughUpdatesError",
    "NotFoundError",
    "OffsetMismatchError",
    "OversizedMessageError",
    "OversizedUpdateError",
    "PortInUseError",
    "QuotaExceededError",
    "RayLostError",
    "RefusedError",
    "ReleaseError",
    "ReplayedMessageError",
    "RetiredKeyError",
    "StorageError",
    "SuccessionError",
    "SwarmError",
    "TagExistsError",
    "TeamError",
    "TooSlowError",
    "TruncatedUpdateError",
    "UnknownFieldError",
    "UnknownStrategyError",
    "UnreachableError",
    "UnsupportedEncodingError",
    "UnsupportedFormatError",
    "UpdateError",
    "UsageError",
    "VerificationError",
    "WrongBaseError",
]


class BarnraiseError(Exception):
    """Root of the tree. ``str(error)`` is the reason, one sentence a person can act on."""

    exit_code: ClassVar[int] = 1
    http_status: ClassVar[int] = 500

    @property
    def code(self) -> str:
        """Stable machine name: the class name in kebab case, without ``Error``."""
        name = type(self).__name__.removesuffix("Error")
        return "".join("-" + c.lower() if c.isupper() else c for c in name).lstrip("-")

    @property
    def reason(self) -> str:
        return str(self)


class UsageError(BarnraiseError):
    exit_code = 2
    http_status = 400


class ConfigError(BarnraiseError):
    exit_code = 3
    http_status = 400


class ConfigMissingError(ConfigError):
    """The file that was named is not there."""


class ConfigUnknownKeyError(ConfigError):
    """A key that nothing reads; the message names the nearest one that exists."""


class ConfigValueError(ConfigError):
    """A known key with a value out of range or of the wrong type."""


class UpdateError(BarnraiseError):
    exit_code = 4
    http_status = 422


class TruncatedUpdateError(UpdateError):
    """Fewer bytes than the update announces."""


class OversizedUpdateError(UpdateError):
    """More bytes, or a larger header, than anything valid needs."""

    http_status = 413


class NonCanonicalUpdateError(UpdateError):
    """Decodable, but not in the one encoding that its content has."""


class NonFiniteUpdateError(UpdateError):
    """A NaN or an infinity."""


class IndexOutOfRangeError(UpdateError):
    """A support position or level outside its segment or codebook."""


class UnsupportedFormatError(UpdateError):
    """Not an update, or of a format, codec or dtype that this version cannot read."""


class WrongBaseError(UpdateError):
    """Made for another base than the one at hand."""

    http_status = 409


class MessageError(BarnraiseError):
    exit_code = 5
    http_status = 400


class UnknownFieldError(MessageError):
    """A message with a missing, unknown or malformed field."""


class BadNameError(MessageError):
    """A name with control characters, separators, or of excessive length."""


class BadSignatureError(MessageError):
    http_status = 403


class BannedError(MessageError):
    """A key whose contributions the operator does not want any more."""

    http_status = 403


class RetiredKeyError(MessageError):
    """A key that its contributor has replaced by another; only that one signs from then on."""

    http_status = 403


class SuccessionError(MessageError):
    """A key cannot be replaced so: the rotation, recovery or objection does not fit what the run knows."""

    http_status = 409


class ReplayedMessageError(MessageError):
    """A signed message whose nonce was already used for something else."""

    http_status = 409


class TeamError(MessageError):
    """What one member sends for its team does not hold together: members, sums, dates."""

    http_status = 422


class ClockSkewError(MessageError):
    """A signed message from too far in the past or the future."""


class LeaseError(MessageError):
    """No such lease, or it expired, or it belongs to another key or round."""

    http_status = 410


class OffsetMismatchError(MessageError):
    """An upload that does not continue where the stored bytes end."""

    http_status = 409


class QuotaExceededError(MessageError):
    http_status = 429


class NotFoundError(MessageError):
    """No such path, method, round or update here."""

    http_status = 404


class OversizedMessageError(MessageError):
    """A JSON body larger than any message needs."""

    http_status = 413


class BadRangeError(MessageError):
    """A byte range that lies outside the blob.

    Attributes:
        size_bytes: what the blob has.
    """

    http_status = 416

    def __init__(self, message: str, *, size_bytes: int = 0) -> None:
        super().__init__(message)
        self.size_bytes = size_bytes


class TooSlowError(MessageError):
    """A request that came slower than the gateway waits for."""

    http_status = 408


class UnsupportedEncodingError(MessageError):
    """A compressed request body: nothing foreign is inflated at the door."""

    http_status = 415


class ReleaseError(BarnraiseError):
    exit_code = 6
    http_status = 404


class BadVersionError(ReleaseError):
    """Not a version, range or channel."""

    http_status = 400


class NoSuchVersionError(ReleaseError):
    """Nothing satisfies the range; the message names the nearest."""


class TagExistsError(ReleaseError):
    """A tag is written once."""

    http_status = 409


class BrokenChainError(ReleaseError):
    """No keyframe reaches the wanted release through the patches that are listed."""


class OrderRefusedError(ReleaseError):
    """What an operator ordered of a run's releases cannot be done; nothing was changed."""

    http_status = 409


class VerificationError(ReleaseError):
    """Bytes, digest or signature do not match what the release says."""

    http_status = 422


class ExpiredMetadataError(VerificationError):
    """Signed metadata that is past its date: nobody renewed it, or somebody holds the newer back."""


class OlderMetadataError(VerificationError):
    """Metadata older than what was seen before: a rollback, or a mirror that lags."""


class NotEnoughSignaturesError(VerificationError):
    """Fewer keys than the threshold have signed, or others than those that are trusted."""


class StorageError(BarnraiseError):
    exit_code = 7
    http_status = 500


class BlobMissingError(StorageError):
    http_status = 404


class DiskFullError(StorageError):
    http_status = 507


class FolderLockedError(StorageError):
    """Another coordinator or node already works in this folder."""

    http_status = 409


class NotARunFolderError(StorageError):
    """The folder holds no run."""


class LedgerVersionError(StorageError):
    """The ledger was migrated by a newer Barnraise than this one."""


class DamagedStoreError(StorageError):
    """Blobs are missing or altered; the message counts or names them."""


class BackupError(StorageError):
    """A folder that is no backup, or one that is not whole."""


class NetworkError(BarnraiseError):
    exit_code = 8
    http_status = 502


class UnreachableError(NetworkError):
    """No answer: name, route, refusal or time-out."""


class RefusedError(NetworkError):
    """The other side answered with a refusal and a reason.

    Attributes:
        status: HTTP status.
        remote_code: the other side's ``code``, or "" when it was not ours.
    """

    def __init__(self, message: str, *, status: int = 0, remote_code: str = "") -> None:
        super().__init__(message)
        self.status = status
        self.remote_code = remote_code


class PortInUseError(NetworkError):
    """The address to listen on is taken."""


class SwarmError(NetworkError):
    """Another node, or the process that speaks to other nodes, does not do what was asked; there is always HTTPS."""


class MergeError(BarnraiseError):
    exit_code = 9


class NotEnoughUpdatesError(MergeError):
    """Fewer updates than the strategy needs to keep its promise."""


class UnknownStrategyError(MergeError):
    """No strategy or hyperparameter of that name; the message names those that exist."""


class AcceptanceError(BarnraiseError):
    """A suite that cannot be run: missing or altered data, a metric that is not finite."""

    exit_code = 10


class InstallationError(BarnraiseError):
    exit_code = 11


class MissingExtraError(InstallationError):
    """A command of an extra that is not installed."""


class NameClashError(InstallationError):
    """Another distribution has overwritten one of our top-level packages."""


class RayLostError(BarnraiseError):
    """Ray, or a part of it that tasks need, has ended. Nobody's fault who sent an update: start another and go on."""

    exit_code = 12
    http_status = 503


class CheckpointError(BarnraiseError):
    exit_code = 13
    http_status = 422


class NotACheckpointError(CheckpointError):
    """No safetensors model there, or a file that is cut short or says of itself what is not so."""


class MismatchedCheckpointsError(CheckpointError):
    """Models that cannot be merged: other tensors, other shapes, another architecture."""


class NonFiniteCheckpointError(CheckpointError):
    """A NaN or an infinity in a model, or in what would be made of it."""


class ChangedCheckpointError(CheckpointError):
    """Not the model that a recipe was written for."""

    http_status = 409


class MachineError(BarnraiseError):
    exit_code = 14


class NotEnoughMemoryError(MachineError):
    """One example at a time is too much for the memory that is free."""


class BudgetSpentError(MachineError):
    """Another unit would tell more of the owner's data than the owner allowed."""


class NodeError(BarnraiseError):
    """A node cannot do what it was asked, or cannot be asked."""

    exit_code = 15
    http_status = 409


class NoNodeError(NodeError):
    """No node runs, or none of that run and key was ever here; the message says what is known."""

    http_status = 404


class NotAgreedError(NodeError):
    """Nobody has agreed yet to what an update can tell of the data that it was trained on."""

    http_status = 403


class NodeCrashedError(BarnraiseError):
    """The node met a fault that nobody foresaw. What happened is in a file that the message names."""

    exit_code = 16


class CannotJoinError(BarnraiseError):
    """This machine cannot join a run as it is; the first failed check says why."""

    exit_code = 17
