"""libnbd, bound by cffi in ABI mode (no compiler is needed where Drystone is installed).

Only what the client uses is declared. libnbd keeps its last error per thread and cffi lets go of the GIL for
each call, so a call and the look at its error are made by one thread with no other libnbd call between them.

Source: libnbd(3), API as of 1.14 (Debian 12 and later have at least that).
"""

import errno
import functools
from typing import Any, Final

import cffi

from drystone.domain.errors import UnavailableError

LIBRARY_NAME: Final = "libnbd.so.0"

COMMAND_FLAG_NONE: Final = 0

_DECLARATIONS: Final = """
struct nbd_handle;
typedef struct {
  int (*callback) (void *user_data, int *error);
  void *user_data;
  void (*free) (void *user_data);
} nbd_completion_callback;
typedef struct {
  int (*callback) (void *user_data, const char *metacontext, uint64_t offset,
                   uint32_t *entries, size_t nr_entries, int *error);
  void *user_data;
  void (*free) (void *user_data);
} nbd_extent_callback;

struct nbd_handle *nbd_create (void);
void nbd_close (struct nbd_handle *h);
const char *nbd_get_error (void);
int nbd_get_errno (void);
const char *nbd_get_version (struct nbd_handle *h);
int nbd_set_export_name (struct nbd_handle *h, const char *name);
int nbd_add_meta_context (struct nbd_handle *h, const char *name);
int nbd_set_pread_initialize (struct nbd_handle *h, bool request);
int nbd_aio_connect_unix (struct nbd_handle *h, const char *path);
int nbd_aio_is_ready (struct nbd_handle *h);
int nbd_aio_is_connecting (struct nbd_handle *h);
int nbd_aio_is_dead (struct nbd_handle *h);
int nbd_aio_is_closed (struct nbd_handle *h);
int nbd_aio_disconnect (struct nbd_handle *h, uint32_t flags);
int nbd_poll (struct nbd_handle *h, int timeout_ms);
int64_t nbd_get_size (struct nbd_handle *h);
int nbd_is_read_only (struct nbd_handle *h);
int nbd_can_meta_context (struct nbd_handle *h, const char *name);
int64_t nbd_aio_pread (struct nbd_handle *h, void *buf, size_t count, uint64_t offset,
                       nbd_completion_callback done, uint32_t flags);
int64_t nbd_aio_pwrite (struct nbd_handle *h, const void *buf, size_t count, uint64_t offset,
                        nbd_completion_callback done, uint32_t flags);
int64_t nbd_aio_flush (struct nbd_handle *h, nbd_completion_callback done, uint32_t flags);
int64_t nbd_aio_trim (struct nbd_handle *h, uint64_t count, uint64_t offset,
                      nbd_completion_callback done, uint32_t flags);
int64_t nbd_aio_zero (struct nbd_handle *h, uint64_t count, uint64_t offset,
                      nbd_completion_callback done, uint32_t flags);
int64_t nbd_aio_cache (struct nbd_handle *h, uint64_t count, uint64_t offset,
                       nbd_completion_callback done, uint32_t flags);
int64_t nbd_aio_block_status (struct nbd_handle *h, uint64_t count, uint64_t offset,
                              nbd_extent_callback extents, nbd_completion_callback done, uint32_t flags);
int nbd_aio_command_completed (struct nbd_handle *h, uint64_t cookie);
"""

ffi: Any = cffi.FFI()
ffi.cdef(_DECLARATIONS)
# cffi and libnbd spell "no completion callback" as a structure of null pointers, passed by value.
NO_COMPLETION: Final = ffi.new("nbd_completion_callback *")[0]


@functools.cache
def library() -> Any:  # noqa: ANN401 - the functions of a dlopened library have no static type
    """Return the loaded library.

    Raises:
        UnavailableError: libnbd is not installed.
    """
    try:
        return ffi.dlopen(LIBRARY_NAME)
    except OSError as error:
        raise UnavailableError(f"{LIBRARY_NAME} cannot be loaded: {error}") from error


def last_error() -> tuple[int, str]:
    """Return (errno, text) of this thread's last failed libnbd call; errno is 0 if libnbd has none."""
    lib = library()
    number = int(lib.nbd_get_errno())
    text = lib.nbd_get_error()
    message = ffi.string(text).decode("utf-8", "replace") if text else "no message"
    name = errno.errorcode.get(number, "no errno")
    return number, f"{message} ({name})" if name not in message else message
