//! What the relay promises, and the test that holds each of it. `tests/traps.rs` looks whether there is a test of each name; what is
//! held otherwise, or not, says why.
//!
//! # What a client sees
//!
//! | promise | tests |
//! |---|---|
//! | a stream is the server's blocks byte for byte, unknown events and fields too, whole and in pieces of 7 bytes, to the first terminal event | `every_recorded_response_is_relayed_byte_for_byte_up_to_and_with_the_first_terminal_event`, `every_recorded_chat_completion_is_relayed_byte_for_byte_up_to_and_with_its_end` |
//! | without `stream` it is the closing object as JSON, made from the stream | `without_stream_the_closing_object_comes_byte_for_byte`, `chat_without_stream_is_a_completion_of_its_chunks`, `an_empty_output_of_the_closing_object_is_rebuilt_from_the_items`, `an_answer_in_one_piece_has_the_servers_headers_and_status_though_the_head_is_late` |
//! | with `one_piece = "server"` it is the server's object byte for byte, of a request as it came, where nothing needs a stream | `the_request_goes_as_it_came_and_the_servers_object_comes_byte_for_byte`, `a_model_that_the_route_renames_has_the_clients_name_in_the_object_and_nowhere_else`, `what_needs_a_stream_is_asked_for_one_and_a_route_decides_for_itself`, `a_server_that_streams_all_the_same_is_read_as_a_stream` |
//! | then retries, refusals, limits, those who leave, the list, ids and keys are as for a stream | `what_is_cut_or_no_json_or_an_error_is_asked_again_and_is_never_an_answer`, `an_answer_without_an_end_comes_as_it_is_and_counts_as_incomplete`, `a_response_that_failed_is_asked_for_again_and_then_comes_as_it_is`, `a_refusal_of_an_answer_in_one_piece_is_the_servers_own`, `an_answer_in_one_piece_has_a_time_and_a_size`, `a_client_that_leaves_an_answer_in_one_piece_frees_the_server_and_its_place`, `an_answer_in_one_piece_is_listed_counted_and_read_again_by_its_client_alone`, `what_goes_on_from_an_answer_in_one_piece_goes_to_the_key_that_made_it` |
//! | `background: true` without `stream` is answered at once and runs on | `an_answer_that_goes_on_without_its_client_is_one_of_its_streams` |
//! | compactions and models are passed on, the etag and 304 of models too | `compaction_and_the_etag_of_models_are_passed_on` |
//! | `GET /v1/responses/{id}` is what is known so far | `what_is_known_of_a_running_answer_is_its_object_so_far` |
//! | a replay goes live, no gap, no repeat; its cursor is the server's `sequence_number` | `a_replay_goes_live_without_a_gap_or_a_repeat_and_its_cursor_is_the_servers_number` |
//! | else the cursor is the relay's own count | `the_cursor_is_our_own_count_where_the_stream_has_no_number`, `one_that_comes_back_has_a_whole_sequence_without_gap_or_repeat_200_times_under_load` |
//! | one that comes back with `starting_after` or `Last-Event-ID` has a whole sequence, 200 times under load | `one_that_comes_back_has_a_whole_sequence_without_gap_or_repeat_200_times_under_load` |
//! | `id:` lines never stand in a plain `POST`, but with `x-relay-ids: true` | `ids_stand_in_a_stream_where_they_are_asked_for_and_never_else` |
//! | cancel, `DELETE` and `input_items` are as OpenAI's API has them; a cancel is done in 1 s or is 503 | `an_answer_is_cancelled_and_deleted`, `the_items_of_a_request_are_listed_and_those_of_a_chain_of_answers_gone_on_from`, `a_cancel_is_told_to_the_pump_and_waits_for_the_end` |
//! | an upgrade is 426 | `methods_and_paths_that_are_none_are_said_so` |
//! | it lives, it is ready (503 while it drains), it is measured | `a_relay_says_that_it_lives`, `a_drain_says_503_refuses_what_is_new_and_ends_what_runs_with_server_shutting_down`, `metrics_tell_the_relays_own_overhead_and_tokens_by_client` |
//! | the client's headers go to the server but for hop-by-hop ones, `host`, `content-length`, `accept-encoding`, `cookie` | `headers_go_to_the_server_but_those_of_the_connection_and_cookies` |
//! | the server's head goes to the client but for hop-by-hop ones and `set-cookie` | `headers_come_to_the_client_but_those_of_the_connection_and_cookies` |
//! | `x-relay-stream`, `server-timing`, the attempt, `cache-control: no-cache`, `x-accel-buffering: no` stand in the head | `a_stream_is_the_servers_bytes` |
//! | `openai-model` and each `model` carry the client's name on a renamed or a fallback route | `a_renamed_model_carries_the_clients_name_in_head_and_body`, `a_fallback_answers_under_the_clients_name_with_one_created_and_its_own_head`, `the_clients_model_name_stands_in_every_object` |
//! | bodies come in zstd, gzip and others, and with `Expect` | `bodies_are_unpacked_in_every_coding`, `expect_is_answered_before_the_body_is_sent`, `curls_expect_and_chunked_bodies_are_read` |
//! | OPTIONS and HEAD answer, 405 has `allow`; `/v1` and bare, with a slash and without | `each_path_says_by_what_it_is_asked`, `methods_and_paths_that_are_none_are_said_so`, `paths_with_v1_and_bare_with_a_slash_and_without_are_one` |
//! | `localhost` is ::1 and 127.0.0.1 | `localhost_is_both_addresses_of_this_machine`, `localhost_and_a_port_alone_are_this_machine` |
//! | the body ends with a proper last chunk right after the terminal event | `every_recorded_response_is_relayed_byte_for_byte_up_to_and_with_the_first_terminal_event`, `blocks_come_byte_for_byte_and_the_body_ends_though_the_server_holds_its_connection_open` |
//! | never a block with only an id or a time, or with empty data | `blocks_come_byte_for_byte_and_the_body_ends_though_the_server_holds_its_connection_open`, `a_block_without_data_is_left_out_and_what_gave_no_event_is_not` |
//! | never a clean end of a cut stream | `a_cut_stream_ends_with_response_failed_and_the_next_sequence_number`, `on_chat_a_failure_is_an_error_object_without_done`, `a_client_that_leaves_cancels_upstream_within_a_second` |
//! | `response.created` comes first, once | `a_failure_before_any_event_is_created_and_failed`, `a_retry_before_output_has_one_created_and_the_ids_of_the_first` |
//! | a sign of life after 15 s without a block: data on Responses, a comment on Chat, only between two whole blocks | `a_silent_server_is_heard_between_whole_blocks_and_never_in_the_log`, `a_resumed_stream_that_is_silent_is_sent_signs_of_life_between_blocks` |
//! | a retry before output is invisible; the preamble is held until output begins, or 2 s | `a_retry_before_output_is_invisible`, `the_preamble_is_held_until_output_begins_or_two_seconds` |
//! | a preamble that went out is not repeated, later ids are mapped to the first ones, and where they cannot be the answer fails | `a_preamble_that_went_out_is_not_repeated_by_the_retry`, `a_preamble_that_went_out_is_not_repeated_and_the_ids_of_the_next_attempt_are_mapped_to_its`, `where_ids_can_not_be_mapped_the_answer_fails`, `on_chat_the_chunks_before_the_output_are_not_repeated_and_the_id_stays` |
//! | after output it fails | `a_cut_stream_ends_with_response_failed_and_the_next_sequence_number` |
//! | head, limits and `retry-after` are those of the attempt that answered | `a_fallback_answers_under_the_clients_name_with_one_created_and_its_own_head` |
//! | 200 after 15 s without a head; what fails later is an event | `a_server_without_a_head_is_waited_for_with_200_and_its_failure_is_an_event` |
//! | a failure after the head is an event of the dialect with the code and the next `sequence_number`, on Chat without `[DONE]`, then a proper end | `a_failure_after_the_head_is_response_failed_with_the_code_and_the_next_sequence_number`, `on_chat_a_failure_is_an_error_object_without_done` |
//! | a failure before the head is the server's status, headers and body; 502 and 504 are ours, in the envelope | `a_refusal_is_the_servers_own_status_headers_and_body`, `our_own_failures_are_502_and_503_in_the_envelope`, `what_takes_too_long_is_504_and_what_has_no_room_is_503` |
//! | retries do not multiply: what was tried often enough says `x-should-retry: false`, and Codex is told in the stream | `retries_do_not_multiply_and_codex_is_told_in_the_stream`, `codex_is_told_that_all_attempts_are_used_up_by_a_code_that_it_takes_as_final` |
//! | Codex sends 6 requests in place of 30 | not a test here: it is counted with Codex itself, by `tests/clients` in `.ci/full` |
//! | a 429 has `retry-after` in whole seconds, wherever the server said it | `a_429_goes_out_with_retry_after_in_whole_seconds_wherever_it_was_said` |
//! | on Responses the end is never an `error` event | `an_error_event_is_followed_by_response_failed_and_a_terminal_event_by_nothing`, `every_recorded_response_is_relayed_byte_for_byte_up_to_and_with_the_first_terminal_event` |
//! | the codes are those that Codex acts on | `a_code_is_one_that_codex_acts_on`, `a_failure_is_an_event_with_a_code_that_clients_act_on_and_the_next_sequence_number` |
//! | an item that was done is never repeated under a new id | `an_item_that_was_done_never_comes_again_under_another_id` |
//! | a client that leaves cancels upstream within a second: before the head, in mid-stream, in a retry's wait, without `stream` | `a_client_that_leaves_frees_the_server_within_a_second_with_stream_and_without`, `a_client_that_leaves_cancels_upstream_within_a_second`, `a_client_that_leaves_before_the_head_cancels_upstream`, `a_client_that_leaves_in_mid_stream_cancels_upstream`, `a_client_that_leaves_without_stream_cancels_upstream`, `a_client_that_leaves_in_a_retrys_wait_ends_the_request` |
//! | unless it was detached or has another reader | `a_detached_answer_and_one_with_another_reader_run_on` |
//! | a slow client pauses its own stream alone, for a minute | `a_slow_reader_pauses_only_its_own_stream`, `a_reader_that_does_not_read_pauses_its_own_stream_beside_20_that_do`, `a_client_that_reads_nothing_is_gone_after_its_time_and_so_is_its_answer` |
//! | with other readers one that reads nothing is left behind with an error event after 15 s | `a_slow_client_is_left_behind_with_an_error_event_where_another_waits`, `who_reads_alone_is_waited_for_longer_and_who_reads_slowly_beside_others_is_waited_for`, `a_pump_waits_for_the_slowest_reader_and_leaves_it_behind_after_a_named_time` |
//!
//! # Bytes as they came
//!
//! | promise | tests |
//! |---|---|
//! | no copy where a block lies whole in a chunk | `a_block_that_lies_whole_in_a_chunk_is_no_copy`, `a_block_that_is_cut_over_chunks_is_joined_once_and_the_next_are_slices` |
//! | without `with_blocks` there are none, and they cost nothing | `without_with_blocks_there_are_none`; the cost: not a test, the rows of BENCHMARKS.md have it |
//! | consecutive blocks are one write | not a test: a client can't see it, and the benchmark counts it |
//! | a block without data is dropped; `event:` and its `data:` leave together | `a_block_without_data_is_left_out_and_what_gave_no_event_is_not`, `every_recorded_response_is_relayed_byte_for_byte_up_to_and_with_the_first_terminal_event` |
//! | `sequence_number` stays the server's | `blocks_come_byte_for_byte_and_the_body_ends_though_the_server_holds_its_connection_open`, `sequence_numbers_go_on_where_the_next_attempt_is_behind` |
//! | on Chat the chunk is the block | `every_recorded_chat_completion_is_relayed_byte_for_byte_up_to_and_with_its_end` |
//!
//! # The bridge
//!
//! | promise | tests |
//! |---|---|
//! | same dialect: the body goes out as it came | `compaction_and_the_etag_of_models_are_passed_on`, `unknown_items_schemas_and_tools_are_sent_byte_for_byte`, `a_prompt_is_written_and_read_back_equal` |
//! | every recorded Chat stream is, as Responses events and back, the answer of an independent reading | `the_bridge_over_every_recorded_chat_stream_gives_the_answer_of_an_independent_reading_and_back` |
//! | every recorded response is that for a client of Chat | `the_bridge_over_every_recorded_response_gives_a_chat_client_the_answer_of_an_independent_reading` |
//! | Responses with the whole ladder, and an object that has every field of the schema | `responses_has_the_whole_ladder`, `the_response_object_has_every_field_of_the_openresponses_schema_and_usage_every_detail` |
//! | `custom` is a function with one string, and comes back as what it was | `a_custom_tool_is_a_function_with_one_string_and_comes_back_with_its_own_events`, `a_client_of_responses_is_answered_by_a_chat_server_with_its_tools_kinds` |
//! | `namespace` is restored by a table, never by splitting; over 64 characters cut; a collision is 400 | `a_namespace_is_restored_by_the_table_and_never_by_splitting`, `a_collision_of_joined_names_is_a_400` |
//! | `tool_search` both ways | `tool_search_goes_both_ways` |
//! | a route may lower tools on Responses to Responses | `a_route_lowers_tools_on_responses_to_responses_too` |
//! | what Chat can't say is named in `x-relay-dropped`, or is a 400 where `tool_choice` needs it | `what_chat_can_not_say_is_left_out_and_named_or_a_400_when_tool_choice_needs_it`, `a_chat_client_over_a_responses_server_names_what_that_has_not`, `an_option_that_is_one_is_named_as_any_other_value_is` |
//! | `functions` of old are tools, and their calls come back as `function_call` | `functions_are_tools_and_their_calls_come_back_as_function_calls` |
//! | annotations and pictures are told on both wires | `annotations_and_pictures_are_told_to_clients_of_chat_once_each`, `an_answer_of_before_comes_without_what_the_responses_api_refuses` |
//! | half a character goes out as it came, and is U+FFFD over the bridge | `half_a_character_passes_as_it_came_and_is_a_sign_over_the_bridge` |
//! | neighbouring calls make one message, results follow at once, a call without a result gets one | `neighbouring_calls_make_one_message_and_their_results_follow_at_once` |
//! | images in results go into a user message, never as text | `images_in_tool_results_go_into_a_message_of_the_user_and_never_as_text` |
//! | what it writes is deterministic | `codexs_body_comes_out_as_one_that_chat_takes` |
//! | `length` and `content_filter` are `incomplete`, with reason and usage; usage has every detail | `length_is_incomplete_and_content_filter_too_with_reason_and_usage`, `the_response_object_has_every_field_of_the_openresponses_schema_and_usage_every_detail` |
//! | an empty `output` is rebuilt from the items | `an_empty_output_in_the_closing_object_is_rebuilt_from_the_items` |
//! | a compaction over Chat is exactly one `compaction` item; where switched off a 400 | `a_compaction_over_a_chat_server_is_one_item_that_its_next_request_can_read`, `a_compaction_over_chat_is_one_compaction_item_or_a_400_where_it_is_switched_off` |
//! | effort, formats, parallel calls, limits, images, files, instructions: row by row | `what_models_are_told_is_mapped_row_by_row` |
//! | `previous_response_id` over Chat; unknown is 400 `previous_response_not_found` | `a_client_of_responses_is_answered_by_a_chat_server_with_its_tools_kinds`, `with_the_relays_key_a_previous_response_that_it_does_not_know_is_a_400_and_not_passed_on`, `the_items_of_a_request_are_listed_and_those_of_a_chain_of_answers_gone_on_from` |
//! | a reference to an item stands for it over Chat, and an unknown one is a 404 | `a_reference_over_a_chat_server_is_the_item_of_an_answer_before_and_an_unknown_one_a_404` |
//! | reasoning travels sealed, unpacked for its provider alone | `reasoning_travels_sealed_and_is_unpacked_for_its_provider_alone` |
//! | sealed items and a previous response go to the provider and key that made them; a fallback elsewhere strips reasoning and names it | `sealed_items_go_to_the_provider_that_made_them_and_elsewhere_without_their_reasoning`, `sealed_items_and_a_previous_response_go_to_the_key_that_made_them`, `a_maker_is_known_to_its_client_for_a_day_and_the_newest_counts`, `a_previous_response_is_told_to_a_fallback_as_its_items` |
//!
//! # An answer that outlives its connection, in memory
//!
//! | promise | tests |
//! |---|---|
//! | a store keeps the whole seam: numbers from 1 and no repeat, the end in the log, claims, tails, cancels, expiry, never trimmed from the front | `the_store_in_memory_conforms`, `numbers_blocks_from_one_and_refuses_a_repeat`, `never_trims_from_the_front`, `says_expired_to_a_tail_whose_stream_is_gone` |
//! | readers that come early, late and after the end read the same | `readers_that_come_early_late_and_after_the_end_read_the_same` |
//! | over its bound in bytes an answer is relayed to its end and not resumed | `an_answer_over_its_bound_in_bytes_is_read_to_its_end_and_not_resumed` |
//! | what is asked for behind its bound, or when it is not kept any longer, says so: 409 `stream_not_resumable`, `stream_expired` | `an_answer_over_its_bound_and_one_that_is_not_kept_any_longer_say_so` |
//! | answers go by time and by bytes, the oldest that ended first | `lets_streams_go_by_time`, `lets_the_oldest_ended_go_first`, `a_client_sees_its_own_answers_by_two_ids_until_their_time_has_passed` |
//! | the end lies in the log before it is told | `keeps_the_end_in_the_log`, `a_replay_goes_live_without_a_gap_or_a_repeat_and_its_cursor_is_the_servers_number` |
//! | ids are the relay's, random, never used again | `one_that_comes_back_has_a_whole_sequence_without_gap_or_repeat_200_times_under_load` |
//! | resuming never starts a run | `one_that_comes_back_has_a_whole_sequence_without_gap_or_repeat_200_times_under_load` |
//! | a background request over a server that has none is a 400 | `an_answer_in_the_background_is_passed_on_to_a_server_that_has_them_and_a_400_over_chat` |
//! | what runs at a shutdown gets the grace, then ends with `server_shutting_down` | `a_drain_says_503_refuses_what_is_new_and_ends_what_runs_with_server_shutting_down`, `a_drain_ends_the_relays_own_answers_and_not_the_runtime_of_its_program` |
//!
//! # Several nodes on one store
//!
//! Two relays of one process on one store, which fails as it is told; with processes, Redis and its failures it is `tests/nodes`.
//!
//! | promise | tests |
//! |---|---|
//! | who is cut comes back to any node: whole sequences, one end, nothing twice | `one_that_is_cut_and_comes_back_to_any_node_has_the_whole_and_one_end_100_times` |
//! | any node answers: the object, the replay by a number or `Last-Event-ID`, the input, by our id and the server's; nobody else's | `another_node_gives_an_answer_in_all_its_forms_while_it_runs_and_after_its_end` |
//! | a cancel reaches the node that answers within a second, a deletion goes everywhere | `an_answer_is_stopped_and_deleted_by_another_node`, `a_reader_of_an_answer_that_is_deleted_elsewhere_is_told_that_it_expired` |
//! | the list has the answers of all nodes, and who watches it costs the store a question a second | `the_list_has_the_answers_of_all_nodes_once` |
//! | a conversation goes on on any node, for its client alone | `a_conversation_goes_on_on_another_node` |
//! | the end lies in the store before it is told; a store that does not answer holds it up for 100 ms and nothing else | `the_end_lies_in_the_store_before_it_is_told`, `a_slow_store_holds_an_end_up_for_a_moment_and_nothing_else` |
//! | a store that is down: relaying goes on, what can't be read is 503, readiness says so, and what is missing comes when it is back | `while_the_store_is_down_relaying_goes_on_and_what_is_missing_comes_when_it_is_back`, `a_reader_elsewhere_waits_for_a_store_that_is_away_with_signs_of_life` |
//! | what a full store does not take has no `x-relay-stream` | `what_a_full_store_does_not_take_is_relayed_and_says_no_id` |
//! | a node that lost its claim stops, and its readers have the one end | `of_an_answer_that_is_lost_to_another_node_readers_here_have_one_end_and_the_server_is_free`, `who_read_more_than_was_stored_has_the_end_alone` |
//!
//! # Who may
//!
//! | promise | tests |
//! |---|---|
//! | other addresses than this machine's want tokens or a word | `other_addresses_want_tokens_or_a_word` |
//! | tokens are hashes, compared in constant time | `a_token_is_known_by_its_hash_and_by_nothing_else`; the time: not a test, `subtle` compares |
//! | an empty or sample token file stops the start | `empty_or_sample_token_file_stops_the_start`, `an_empty_or_sample_token_file_is_refused_and_never_quoted` |
//! | the client's own key passes, or the provider's replaces it | `without_a_key_the_clients_own_goes_to_the_server`, `the_providers_key_replaces_the_clients` |
//! | a client sees only the streams that it started: get, cancel, delete, input items, a conversation, the list | `another_client_can_not_read_go_on_with_or_stop_an_answer`, `a_conversation_over_a_chat_server_is_its_clients_alone`, `a_client_sees_only_the_streams_that_it_started` |
//! | a previous response of another's is unknown, and with the relay's key none is asked for that it does not know | `with_the_relays_key_a_previous_response_that_it_does_not_know_is_a_400_and_not_passed_on`, `the_items_of_a_request_are_listed_and_those_of_a_chain_of_answers_gone_on_from` |
//! | the server's id is an alias, and the newest wins | `a_client_sees_its_own_answers_by_two_ids_until_their_time_has_passed` |
//! | a body over 32 MiB decoded is 413, a bomb too, an unknown coding 415 | `a_bomb_is_413_and_so_is_a_body_of_a_gibibyte_before_it_is_read`, `a_body_without_end_is_413_by_its_limit_however_it_comes`, `bodies_are_unpacked_in_every_coding`, `the_numbers_of_the_relay_are_those_that_it_promises` |
//! | heads, connections and slow senders are bounded | `header_floods_are_431_and_what_is_below_their_limits_is_answered`, `slow_heads_are_408_and_connections_over_the_limit_wait_for_them`, `a_later_head_of_a_connection_has_a_time_too`, `a_slow_body_is_408_after_its_time_and_asks_nobody` |
//! | too many streams are 429 with `retry-after` | `an_answer_that_goes_on_without_its_client_is_one_of_its_streams`, `each_client_has_its_own_limit_and_an_ended_stream_makes_room` |
//! | `Host` and `Origin` are compared exactly; CORS off unless origins are named | `a_foreign_host_is_refused`, `a_host_is_compared_whole`, `another_origins_page_can_not_drive_a_relay_on_localhost`, `a_named_origins_preflight_is_answered_and_its_page_may_read` |
//! | a guess is refused and never repeated | `a_token_guess_is_refused_and_never_repeated` |
//! | with the relay's key an unknown id is 404 and never passed on; with the client's own it goes to the one server that could know it | `with_the_relays_key_an_unknown_id_is_a_404_and_never_passed_on`, `an_unknown_id_is_passed_on_with_the_clients_own_key_to_the_one_server_that_could_know_it` |
//! | nothing of a request chooses the server; redirects are not followed | `no_body_header_or_query_chooses_the_server`, `a_redirect_is_an_error_and_the_key_goes_nowhere_else` |
//! | no token, key, query or body reaches a log, a metric, the page, an error or a `Debug` | `metrics_tell_the_relays_own_overhead_and_tokens_by_client`, `a_client_is_its_key_and_a_debug_shows_none`, `no_token_key_query_or_body_reaches_a_log_a_metric_the_page_an_error_or_a_debug`, `every_error_has_its_line_and_none_quotes_a_secret`, `token_file_is_named_with_its_line_and_never_quoted` |
//! | keys come from a file or from standard input, and are never shown | `keys_of_a_file_or_of_standard_input_ask_and_are_never_shown`, `several_keys_are_one_server_and_a_session_stays_with_one`, `every_error_has_its_line_and_none_quotes_a_secret` |
//!
//! # The page
//!
//! | promise | tests |
//! |---|---|
//! | the list says of each stream what the guide documents, to its client alone, and comes live | `the_list_says_of_each_stream_what_the_guide_documents`, `the_list_says_by_which_code_a_stream_failed_and_which_attempt_answers`, `a_client_is_listed_nobody_elses_streams`, `the_list_is_an_event_stream_for_whom_asks_for_one` |
//! | its own scripts and styles only | `the_page_may_load_and_run_nothing_that_is_not_its_own` |
//! | late join, a stopped stream, HTML in a text, 200 streams at once, a phone, the keyboard, dark | not a test here: Chromium does it, by `tests/page` in `.ci/full` |
//!
//! # Configuration
//!
//! | promise | tests |
//! |---|---|
//! | without any flag the embedded provider answers | `without_any_flag_the_embedded_provider_stands_behind_it` |
//! | routes rename and fall back; the first that fits counts | `first_matching_route_wins_and_renames`, `a_fallback_answers_under_the_clients_name_with_one_created_and_its_own_head`, `a_fallback_is_never_for_the_callers_own_faults` |
//! | checked whole at the start, every error with its line | `every_error_has_its_line_and_none_quotes_a_secret`, `check_says_file_and_line_and_starts_nothing` |
//! | SIGHUP reads it again by its path, running streams keep the old one, and a bad file changes nothing | `hangup_reads_again_and_a_bad_file_changes_nothing`, `a_stream_goes_on_with_what_it_began_with_while_the_file_and_the_tokens_change`, `a_stream_that_runs_keeps_the_routes_that_it_began_with` |
//! | keys are sticky by session and rest by `retry-after` | `a_session_keeps_its_key_until_it_rests_and_comes_back_to_it`, `a_key_that_was_refused_rests_and_the_next_one_asks`, `when_all_keys_rest_the_first_to_be_ready_is_asked` |
//! | models are listed under the clients' names, with `data` and `models` | `a_renamed_model_carries_the_clients_name_in_head_and_body` |
//! | readiness is 503 a named time before the listener closes; the grace is 10 minutes | `sigterm_turns_readiness_refuses_what_is_new_and_ends_what_runs_within_the_grace`, `the_numbers_of_the_relay_are_those_that_it_promises` |
//! | probes never call a model | `probes_call_no_model_and_an_unknown_id_that_nobodys_key_asks_for_is_asked_nowhere` |
//! | histograms of the relay's own overhead and first event, tokens by client; names are bounded | `metrics_tell_the_relays_own_overhead_and_tokens_by_client`, `invented_models_share_one_label` |
//! | a cancelled answer's usage is never guessed | `an_answer_that_is_stopped_says_so_and_frees_the_server` |

use std::time::Duration;

use actix_responses::{
    Runtime,
    provider::Provider,
    relay::{Relay, RelayConfig, RouteTable},
    testing::{self, Exchange, ScriptedTransport},
};
use actix_web::{
    App,
    body::{BodySize, MessageBody},
    dev::{Service, ServiceResponse},
    test::{TestRequest, init_service, read_body},
};
use serde_json::{Value, json};
use tokio::time::{Instant, sleep, timeout};

use crate::support::{RunningRelay, post};

/// Events of the Responses wire that begin with output.
fn begun() -> Exchange {
    Exchange::stream("")
        .event(
            json!({"type": "response.created", "sequence_number": 0, "response": {"id": "resp_1"}}),
        )
        .event(
            json!({"type": "response.output_text.delta", "sequence_number": 1, "output_index": 0,
            "content_index": 0, "item_id": "m", "delta": "hi"}),
        )
}

/// What a client of the routes does, in paused time.
async fn asks<S, B>(app: &S, stream: bool) -> ServiceResponse<B>
where
    S: Service<actix_http::Request, Response = ServiceResponse<B>, Error = actix_web::Error>,
    B: MessageBody,
{
    let body = json!({"model": "m", "input": "hi", "stream": stream, "store": false});
    let request = TestRequest::post().uri("/v1/responses");
    let request = request.insert_header(("host", "localhost")).set_json(body);
    app.call(request.to_request()).await.expect("an answer")
}

#[actix_rt::test]
async fn a_client_that_leaves_frees_the_server_within_a_second_with_stream_and_without() {
    tokio::time::pause();
    let busy = Exchange::status(503).with_header("retry-after", "60");
    for (at, exchange) in [
        ("before the head", Exchange::silence()),
        ("in mid-stream", begun().held_open()),
        ("in a retry's wait", busy),
    ] {
        for stream in [true, false] {
            let transport = ScriptedTransport::new([exchange.clone()]);
            let runtime = Runtime::with_transport(testing::config(), transport.clone()).unwrap();
            let provider = Provider::new("scripted", "http://scripted.test/v1").unwrap();
            let routes = RouteTable::single(provider);
            let relay = Relay::new(runtime, routes, RelayConfig::default());
            let app = init_service(App::new().configure(|app| relay.configure(app))).await;
            // Without the head, and in one piece for as long as it is not whole, there is no answer to leave but its question.
            let answer = timeout(Duration::from_secs(10), asks(&app, stream)).await;
            assert_eq!(answer.is_ok(), stream && at == "in mid-stream", "{at}");
            if let Ok(answer) = &answer {
                assert_eq!(answer.response().body().size(), BodySize::Stream);
                assert_eq!(relay.running(), 1, "{at}");
            }
            drop(answer);
            let left = Instant::now();
            while relay.running() > 0 || transport.open_requests() > 0 {
                assert!(left.elapsed() <= Duration::from_secs(1), "{at}, {stream}");
                sleep(Duration::from_millis(10)).await;
            }
            // Nor is it asked again.
            sleep(Duration::from_secs(600)).await;
            assert_eq!(transport.requests().len(), 1, "{at}, {stream}");
        }
    }
}

#[actix_rt::test]
async fn probes_call_no_model_and_an_unknown_id_that_nobodys_key_asks_for_is_asked_nowhere() {
    let relay = RunningRelay::start().await;
    for path in ["/healthz", "/readyz", "/metrics", "/", "/streams"] {
        assert_eq!(relay.get(path).await.0, 200, "{path}");
    }
    for path in ["", "?stream=true&starting_after=1", "/input_items"] {
        let path = format!("/v1/responses/resp_unknown{path}");
        assert_eq!(relay.get(&path).await.0, 404, "{path}");
    }
    let cancel = "/v1/responses/resp_unknown/cancel";
    assert_eq!(post(&relay, cancel, "", "").await.0, 404);
    assert_eq!(relay.upstream.connections().len(), 0);
}

#[actix_rt::test]
async fn a_stream_that_runs_keeps_the_routes_that_it_began_with() {
    tokio::time::pause();
    let provider = |host: &str| Provider::new(host, &format!("http://{host}.test/v1")).unwrap();
    let long = begun().wait(Duration::from_secs(60)).event(completed());
    let transport = ScriptedTransport::new([long, Exchange::answer("hi")]);
    let runtime = Runtime::with_transport(testing::config(), transport.clone()).unwrap();
    let routes = RouteTable::single(provider("before"));
    let relay = Relay::new(runtime, routes, RelayConfig::default());
    let app = init_service(App::new().configure(|app| relay.configure(app))).await;
    let running = asks(&app, true).await;
    relay.set_routes(RouteTable::single(provider("after")));
    let later = asks(&app, true).await;
    for answer in [running, later] {
        let body = read_body(answer).await;
        let body = String::from_utf8_lossy(&body);
        assert!(body.contains("event: response.completed"), "{body}");
    }
    let requests = transport.requests();
    let hosts: Vec<_> = requests.iter().map(|sent| sent.url.host_str()).collect();
    assert_eq!(hosts, [Some("before.test"), Some("after.test")]);
}

fn completed() -> Value {
    json!({"type": "response.completed", "sequence_number": 2, "response": {"id": "resp_1", "status": "completed", "output": []}})
}

#[test]
fn the_numbers_of_the_relay_are_those_that_it_promises() {
    let config = RelayConfig::default();
    assert_eq!(config.max_body_bytes, 32 << 20);
    let times = [
        (config.keepalive, 15),
        (config.head_patience, 15),
        (config.preamble_patience, 2),
        (config.grace, 600),
    ];
    for (time, seconds) in times {
        assert_eq!(time, Duration::from_secs(seconds));
    }
}
