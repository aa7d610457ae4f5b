// SPDX-License-Identifier: MIT
// The contract of the bus over the one in memory.
#include "contract/bus_contract.h"

static void prepare(struct cn_bus_options *options)
{
    options->url = "";
}

int main(void)
{
    return bus_contract_run("memory", prepare);
}
