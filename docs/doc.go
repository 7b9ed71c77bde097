// SPDX-License-Identifier: MIT

// Package docs has no code: it is the place of the tests of the documents.
package docs
