// SPDX-License-Identifier: MIT

package kcp

// headlessPatience is how long a session is kept whose first segment does not come, which was overtaken by a later one: as
// long as a peer goes on with the default DeadTimeout, or with that of the listener where it is longer.
const headlessPatience millis = 30_000
