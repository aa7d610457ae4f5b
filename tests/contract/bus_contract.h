// SPDX-License-Identifier: MIT
// The contract of a bus as tests, run over each implementation.
#ifndef CHATNODE_TEST_BUS_CONTRACT_H
#define CHATNODE_TEST_BUS_CONTRACT_H

#include "chatnode/bus.h"

// Runs every test on buses made with `prepare(options)`, which sets what the implementation needs
// (each call must lead to a store of its own). Returns the number of failed tests.
int bus_contract_run(const char *name, void (*prepare)(struct cn_bus_options *options));

#endif
