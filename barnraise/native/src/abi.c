// The number that the loader compares, so that a library of another version is not called.
#include "kernels.h"

EXPORT int barnraise_abi(void);
EXPORT int barnraise_abi(void) { return BARNRAISE_ABI; }
