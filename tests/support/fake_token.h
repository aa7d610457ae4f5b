// SPDX-License-Identifier: MIT
// Tokens for tests that need no signature: what a token grants stands in it, as words between
// semicolons. Linked with --wrap=cn_token_verify.
//
//   user=ann;in=60;name=Ann;direct;rooms=lobby:join,send|team-*:join,history@1700000
//   fault=expired
//
// `in` is when it expires, in seconds from now (60 without); @ stands before a rule's from_ms.
#ifndef CHATNODE_TEST_FAKE_TOKEN_H
#define CHATNODE_TEST_FAKE_TOKEN_H

#include "chatnode/token.h"

// The grant that the text describes; owned by the caller. NULL without memory.
struct cn_grant *fake_grant(const char *text, int64_t now_s);

#endif
