#pragma once

#include <csignal>

namespace runrig::detail {

/// While it lives, writing to a pipe without readers is an error (EPIPE) and no signal: SIGPIPE is kept from this
/// thread, and one that such a write has raised is taken back. For what knows no MSG_NOSIGNAL. The program's own
/// disposition is never touched, and a SIGPIPE that was pending before stays so.
class NoSigpipe {
 public:
  NoSigpipe() noexcept;
  NoSigpipe(const NoSigpipe&) = delete;
  NoSigpipe& operator=(const NoSigpipe&) = delete;
  ~NoSigpipe();

  bool raised = false;  ///< to be set when a write has failed with EPIPE

 private:
  sigset_t former_;
  bool was_pending_ = false;
};

}  // namespace runrig::detail
