#pragma once

#include <array>
#include <string_view>

#include "address_form.hpp"
#include "forms.hpp"
#include "runrig/channel/proxy_state.hpp"

namespace runrig::pickle::detail {

inline constexpr std::string_view managers_module = "multiprocessing.managers";

/// The name of a class of Python's proxies as the table has it; empty if there is none of that name.
[[nodiscard]] std::string_view find_proxy_type(std::string_view name) noexcept;

/// How tokens and proxies are written; see Forms.
template <class Sink>
class ProxyForms {
 public:
  ProxyForms(Sink& sink, Forms<Sink>& forms) noexcept : sink_(sink), forms_(forms) {}

  void token(const Token& value) {
    forms_.global(managers_module, "Token");
    sink_.put(Op::empty_tuple);
    sink_.put(Op::newobj);
    text(value.type_id);
    put_address(forms_, value.address);
    text(value.id);
    forms_.close_tuple(3);
    sink_.put(Op::build);
  }
  void proxy(const ProxyState& value) {
    forms_.global(managers_module, "RebuildProxy");
    sink_.put(Op::mark);
    forms_.global(managers_module, value.type);
    token(value.token);
    forms_.text("pickle");
    sink_.put(Op::empty_dict);
    if (value.type == "AutoProxy") {
      forms_.text("exposed");
      sink_.put(Op::mark);
      for (const std::string& each : value.exposed) text(each);
      sink_.put(Op::tuple);
      sink_.put(Op::setitem);
    }
    sink_.put(Op::tuple);
    sink_.put(Op::reduce);
  }

 private:
  void text(std::string_view text) {
    if (!is_text(text)) throw Error(std::errc::illegal_byte_sequence, "write", "proxy");
    forms_.text(text);
  }
  Sink& sink_;
  Forms<Sink>& forms_;
};

}  // namespace runrig::pickle::detail
