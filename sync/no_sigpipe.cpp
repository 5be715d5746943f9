#include "runrig/sync/no_sigpipe.hpp"

#include <ctime>

namespace runrig::detail {
namespace {

sigset_t sigpipe_only() noexcept {
  sigset_t set;
  ::sigemptyset(&set);
  ::sigaddset(&set, SIGPIPE);
  return set;
}

}  // namespace

NoSigpipe::NoSigpipe() noexcept {
  const sigset_t sigpipe = sigpipe_only();
  ::pthread_sigmask(SIG_BLOCK, &sigpipe, &former_);
  // Only a thread that blocked it already can have one pending: any other would have got it.
  if (::sigismember(&former_, SIGPIPE) != 1) return;
  sigset_t pending;
  ::sigpending(&pending);
  was_pending_ = ::sigismember(&pending, SIGPIPE) == 1;
}

NoSigpipe::~NoSigpipe() {
  if (raised && !was_pending_) {
    const sigset_t sigpipe = sigpipe_only();
    const timespec now{};
    (void)::sigtimedwait(&sigpipe, nullptr, &now);
  }
  ::pthread_sigmask(SIG_SETMASK, &former_, nullptr);
}

}  // namespace runrig::detail
