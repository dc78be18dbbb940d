// The keeper: a small process between Leeward and each process that it runs, so that nothing is
// left behind when Leeward dies, even by SIGKILL.
//
//   leeward keep --parent-fd N [--stop-signal NUMBER] [--stop-timeout MILLISECONDS]
//                [--log FILE [--log-bytes-max BYTES]] [--listen-fd N] [--data-bytes-max BYTES]
//                [--cgroup DIRECTORY] [--join FILE]…
//                [--root DIRECTORY --root-user UID:GID[:GROUP]… --root-directory DIRECTORY]
//                -- COMMAND [ARGUMENT…]
//
// It runs COMMAND as its child, in an own session and process group, and ends with the child's exit
// status (128 + signal number when a signal ended it; 127: command not found; 126: command cannot
// be run; 125: the keeper itself failed).
//
// The tree below it is ended
//   - when file descriptor N, the read end of a pipe whose only write end is in the supervising
//     process, reports end of file: the supervising process is gone, however it died;
//   - on SIGTERM or SIGINT; and on SIGUSR1 at once, by SIGKILL;
//   - when the supervising *thread* ends (PR_SET_PDEATHSIG, should the pipe have leaked); so start
//     keepers from a thread that lives as long as its process;
//   - when the child has exited by itself: what it left behind would hold its ports.
//
// How: the stop signal goes to the child's process group, and after the stop timeout SIGKILL to
// every descendant. Once the child is gone, remaining descendants get the stop signal and at most
// one second. The keeper is a child subreaper (prctl(2) PR_SET_CHILD_SUBREAPER), so a process that
// double-forks or calls setsid(2) becomes the keeper's own child and cannot get away. The keeper
// ends only when it has no child left; a process in uninterruptible sleep makes it wait.
//
// Control group: with --cgroup the child is started inside that directory of the unified hierarchy,
// and cgroup.kill ends whatever is in it. With --join it joins the groups of these cgroup.procs
// files before COMMAND runs. The keeper itself is in none of them, so no limit stops it.
//
// Listener: with --listen-fd the child gets that socket as descriptor 3, with LISTEN_FDS=1 and
// LISTEN_PID as sd_listen_fds(3) reads them.
//
// Root: with --root the child lives in the root file system of an image (internal/own_root.h), as
// that user, and COMMAND is one of the image. Its environment is only those variables of the
// keeper's whose names begin with "@", without that; so what is meant for the command (LD_PRELOAD)
// means nothing to the keeper. The child is then the first process of a process namespace, and
// COMMAND its child.
//
// What can escape: if the keeper itself is killed by SIGKILL, the kernel kills the child (by
// PR_SET_PDEATHSIG), but neither the child's own children nor a child that has changed its user id
// (the kernel then forgets the request). The Supervisor looks for such left-overs by a mark in
// their environment before it starts the instance again (supervisor.h).
//
// Needs /proc/PID/task/TID/children (CONFIG_PROC_CHILDREN, in every Debian kernel) and refuses to
// start without it.
//
// Log: with --log, standard output and error of the child go to FILE through a pipe that a thread
// of the keeper empties, so a slow disk never delays the ending of the tree. At BYTES (default 10
// MiB) the file is renamed to FILE.1, replacing an older one. When the file cannot be written,
// output is dropped; the child is never blocked by it.
#pragma once

namespace leeward::compute {

// Call it from main() before anything else when argv[1] is "keep" (no thread may exist yet). Does
// not return while the child's tree lives. Returns the exit status.
int keeper_main(int argc, char** argv);

}  // namespace leeward::compute
