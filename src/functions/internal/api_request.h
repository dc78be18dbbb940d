// One call of the Lambda API under way, and how its answers look.
#pragma once

#include <nlohmann/json.hpp>
#include <string>
#include <utility>

#include "functions/function_service.h"
#include "functions/registry_json.h"

namespace leeward::functions {

struct FunctionService::Request {
  net::HttpRequest http;
  net::Responder respond;
  std::string request_id;
  FunctionReference function;  // where the path names one
  nlohmann::json body = nlohmann::json::object();

  void answer(Answer result) const {
    net::HttpResponse response;
    if (result) {
      response = std::move(*result);
    } else {
      const ApiError& error = result.error();
      response.status = error.status;
      response.headers["x-amzn-ErrorType"] = error.type;
      // The member's name differs from shape to shape of the API's model.
      const bool capital =
          error.type == "ResourceNotFoundException" || error.type == "ServiceException";
      nlohmann::json text{{"Type", error.status >= 500 ? "Server" : "User"},
                          {capital ? "Message" : "message", error.message}};
      if (error.type == "TooManyRequestsException")
        text["Reason"] = "ReservedFunctionConcurrentInvocationLimitExceeded";
      response.body = text.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace);
    }
    response.headers["x-amzn-RequestId"] = request_id;
    respond(std::move(response));
  }
};

inline net::HttpResponse json_answer(const nlohmann::json& body, int status = 200) {
  net::HttpResponse response;
  response.status = status;
  response.body = body.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace);
  return response;
}

inline net::HttpResponse empty_answer(int status) {
  net::HttpResponse response;
  response.status = status;
  response.content_type = "";
  return response;
}

inline tl::unexpected<ApiError> service_error(const Error& error) {
  return tl::unexpected(ApiError{500, "ServiceException", error.message});
}

}  // namespace leeward::functions
