// SPDX-License-Identifier: MIT

package kcp
