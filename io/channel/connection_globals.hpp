#pragma once

#include <string_view>

#include "address_form.hpp"
#include "forms.hpp"
#include "runrig/channel/shared_handle.hpp"

namespace runrig::pickle::detail {

inline constexpr std::string_view sharer_module = "multiprocessing.resource_sharer";
inline constexpr std::string_view connection_module = "multiprocessing.connection";

/// Whether a sharer can keep a descriptor as that.
[[nodiscard]] bool is_possible(const SharedHandle& handle) noexcept;

/// How shared handles and connections are written; see Forms.
template <class Sink>
class ConnectionForms {
 public:
  ConnectionForms(Sink& sink, Forms<Sink>& forms) noexcept : sink_(sink), forms_(forms) {}

  void shared_handle(const SharedHandle& value) {
    forms_.global(sharer_module, "DupFd");
    sink_.put(Op::empty_tuple);
    sink_.put(Op::newobj);
    sink_.put(Op::empty_dict);
    forms_.text("_id");
    put_address(forms_, value.sharer);
    forms_.integer(value.key);
    forms_.close_tuple(2);
    sink_.put(Op::setitem);
    sink_.put(Op::build);
  }
  void connection(const SharedConnection& value) {
    forms_.global(connection_module, "rebuild_connection");
    shared_handle(value.handle);
    sink_.put(value.readable ? Op::newtrue : Op::newfalse);
    sink_.put(value.writable ? Op::newtrue : Op::newfalse);
    forms_.close_tuple(3);
    sink_.put(Op::reduce);
  }

 private:
  Sink& sink_;
  Forms<Sink>& forms_;
};

}  // namespace runrig::pickle::detail
