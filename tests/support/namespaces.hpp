#pragma once

#include <string>

/// Machines of a test's own making.
namespace runrig::test {

/// How a child leaves that is not allowed what it needs for that.
inline constexpr int cannot_isolate = 77;

/// For the head of a child: what it mounts from here on only it and its children see. By a mount namespace, and where
/// that needs it a user namespace; leaves with cannot_isolate where neither is allowed.
void keep_mounts_to_itself();
/// For the head of a child: its machine has so much memory, as far as the kernel tells. Leaves as above.
void pretend_memory(std::size_t bytes, const std::string& directory);

}  // namespace runrig::test
