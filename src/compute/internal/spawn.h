// Starting a keeper (keeper.h) without fork's hazards in a threaded process.
#pragma once

#include <sys/types.h>

#include <string>
#include <vector>

#include "base/error.h"
#include "base/file.h"
#include "base/time.h"
#include "compute/expand.h"

namespace leeward::compute {

// In front of the names of variables for a command that has a root of its own (keeper.h).
inline constexpr char kOwnVariable = '@';

struct KeeperProcess {
  pid_t pid = -1;
  UniqueFd pidfd;     // readable when the keeper has ended; then waitpid(2) is the caller's to do
  UniqueFd lifeline;  // the only write end of the keeper's pipe; closing it ends the tree
};

// Starts argv = `keeper` + --parent-fd … + `options` + "--" + process.argv, with a clean signal
// state, standard input from /dev/null and no descriptor of ours but standard output and error, and
// `listener` (not −1), which the keeper hands on. `marks` ("NAME=value") are added to the
// environment of the keeper and of the process. kIo when it cannot be started.
Result<KeeperProcess> spawn_keeper(const std::vector<std::string>& keeper,
                                   const std::vector<std::string>& options,
                                   const ExpandedProcess& process,
                                   const std::vector<std::string>& marks, int listener = -1);

// How it ended, for people: "exit status 1 after 2.5s". `wait_status`: of waitpid(2).
std::string describe_exit(int wait_status, Duration lived);

}  // namespace leeward::compute
