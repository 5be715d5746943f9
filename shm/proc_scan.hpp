#pragma once

#include <sys/types.h>

#include <map>
#include <string>
#include <vector>

#include "runrig/shm/handle.hpp"

namespace runrig::detail {

/// The processes that have a segment mapped or open, ascending.
using SegmentUsers = std::map<SegmentId, std::vector<pid_t>>;

/// Looks through /proc/PID/maps and /proc/PID/fd of all processes that the kernel lets us look into: those of our own
/// user, unless they have made themselves undumpable. `names` maps each segment asked for to its name. Each of them is
/// in the result, perhaps without users. For this process only mappings count, since who asks has the segments open.
/// Throws Error if there is no /proc: then nothing can be said.
[[nodiscard]] SegmentUsers find_users(const std::map<SegmentId, std::string>& names);

}  // namespace runrig::detail
