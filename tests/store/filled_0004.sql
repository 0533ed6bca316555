-- What a shop's database held under the release whose schema is 0004: every table, every status, as that release wrote
-- them. Ids are short here: the test pads their numbers. {at} is a time that long ago.
INSERT INTO payment (id, payment_intent, charge, currency, captured, amount_refunded, status, livemode, connect, disputed, dispute, method, busy_until, read_at, news, created_at) VALUES
 ('pay_1', 'pi_1', 'ch_1', 'usd', 10000, 3333, 'succeeded', false, false, false, NULL, 'card visa ••4242', NULL, NULL, 2, '{at}'),
 ('pay_2', 'pi_2', 'ch_2', 'eur', 8000, 0, 'succeeded', false, false, true, '{"id": "du_1", "status": "needs_response", "amount": 8000, "answer_by": null}', NULL, NULL, NULL, 1, '{at}'),
 ('pay_3', 'pi_3', 'ch_3', 'usd', 5000, 2000, 'succeeded', false, false, false, NULL, NULL, NULL, NULL, 1, '{at}'),
 ('pay_4', 'pi_4', 'ch_4', 'usd', 9000, 9000, 'succeeded', false, false, false, NULL, NULL, NULL, NULL, 3, '{at}'),
 ('pay_5', NULL, 'py_5', 'jpy', 7000, 0, 'succeeded', false, false, false, NULL, NULL, '{at}', '{at}', 0, '{at}'),
 ('pay_6', 'pi_6', NULL, 'usd', 0, 0, 'canceled', false, true, false, NULL, NULL, NULL, NULL, 0, '{at}');

INSERT INTO return_authorization (id, order_id, payment_id, currency, livemode, state, reason, internal_note, customer_email, purchased_at, shipping_amount, policy, approvals, approvals_required, follow_up_at, follow_up_barred, closed_at, metadata, version, created_at, updated_at) VALUES
 ('ret_1', 'ÄPFEL-1', 'pay_1', 'usd', false, 'approved', 'too_small', 'rings twice', 'Jürgen@example.com', '{at}', 0, NULL, '[{"by": "usr_anna", "at": "2026-03-01T10:00:00Z"}]', 1, NULL, NULL, NULL, '{"shop": "1"}', 4, '{at}', '{at}'),
 ('ret_2', 'order-2', 'pay_2', 'eur', false, 'requested', NULL, NULL, NULL, NULL, 500, NULL, '[]', 1, NULL, NULL, NULL, '{}', 1, '{at}', '{at}'),
 ('ret_3', 'order-3', 'pay_3', 'usd', false, 'approved', NULL, NULL, NULL, NULL, 0, NULL, '[{"by": "policy", "at": "2026-03-01T10:00:00Z"}]', 1, NULL, NULL, NULL, '{}', 2, '{at}', '{at}'),
 ('ret_4', 'order-4', 'pay_4', 'usd', false, 'refunded', NULL, NULL, NULL, NULL, 0, NULL, '[]', 1, NULL, NULL, '{at}', '{}', 3, '{at}', '{at}'),
 ('ret_5', 'order-5', 'pay_5', 'jpy', false, 'refunding', NULL, NULL, NULL, NULL, 0, NULL, '[]', 1, NULL, NULL, NULL, '{}', 3, '{at}', '{at}'),
 ('ret_6', 'order-6', 'pay_5', 'jpy', false, 'failed', NULL, NULL, NULL, NULL, 0, NULL, '[]', 1, NULL, NULL, NULL, '{}', 4, '{at}', '{at}'),
 ('ret_7', 'order-7', 'pay_1', 'usd', false, 'declined', NULL, NULL, NULL, NULL, 0, NULL, '[]', 1, NULL, NULL, NULL, '{}', 2, '{at}', '{at}'),
 ('ret_8', 'order-8', 'pay_6', 'usd', false, 'canceled', NULL, NULL, NULL, NULL, 0, NULL, '[]', 1, NULL, NULL, NULL, '{}', 2, '{at}', '{at}');

INSERT INTO return_line (id, return_id, position, sku, title, reason, order_line, quantity_ordered, quantity, total_amount, accepted, rejected, inspecting) VALUES
 ('rli_1', 'ret_1', 0, 'MÜTZE', 'Cap', NULL, 'line-1', 4, 3, 10000, '{"new": 1}', '{"missing": 1}', 1),
 ('rli_2', 'ret_2', 0, 'SHIRT', NULL, NULL, NULL, NULL, 1, 7500, '{}', '{}', 0),
 ('rli_3', 'ret_3', 0, 'SOCKS', NULL, NULL, NULL, NULL, 2, 5000, '{}', '{}', 0),
 ('rli_4', 'ret_4', 0, 'LAMP', NULL, NULL, NULL, NULL, 2, 8000, '{"new": 1}', '{"damaged": 1}', 0),
 ('rli_5', 'ret_5', 0, 'CUP', NULL, NULL, NULL, NULL, 1, 3000, '{"opened": 1}', '{}', 0),
 ('rli_6', 'ret_6', 0, 'POT', NULL, NULL, NULL, NULL, 2, 4000, '{"new": 2}', '{}', 0),
 ('rli_7', 'ret_7', 0, 'PEN', NULL, NULL, NULL, NULL, 1, 100, '{}', '{}', 0),
 ('rli_8', 'ret_8', 0, 'PAD', NULL, NULL, NULL, NULL, 1, 100, '{}', '{}', 0);

INSERT INTO receipt (id, return_id, received_by, scan_id, fingerprint, reversed_at, reversed_by, reversed_reason, created_at) VALUES
 ('rcp_1', 'ret_1', 'usr_dock', 'scan-1', 'f1', NULL, NULL, NULL, '{at}'),
 ('rcp_2', 'ret_1', 'usr_dock', NULL, 'f2', '{at}', 'usr_dock', 'Counted twice', '{at}'),
 ('rcp_3', 'ret_4', 'usr_dock', 'scan-3', 'f3', NULL, NULL, NULL, '{at}'),
 ('rcp_4', 'ret_5', 'usr_dock', 'scan-4', 'f4', NULL, NULL, NULL, '{at}'),
 ('rcp_5', 'ret_6', 'usr_dock', 'scan-5', 'f5', NULL, NULL, NULL, '{at}');

INSERT INTO receipt_line (id, receipt_id, line_id, sku, quantity, condition, disposition, accepted) VALUES
 ('rcl_1', 'rcp_1', 'rli_1', 'MÜTZE', 1, 'new', 'restock', true),
 ('rcl_2', 'rcp_1', 'rli_1', 'MÜTZE', 1, 'missing', 'scrap', false),
 ('rcl_3', 'rcp_1', 'rli_1', 'MÜTZE', 1, 'opened', 'inspect', NULL),
 ('rcl_4', 'rcp_2', 'rli_1', 'MÜTZE', 1, 'wrong_item', 'return_to_customer', false),
 ('rcl_5', 'rcp_3', 'rli_4', 'LAMP', 1, 'new', 'restock', true),
 ('rcl_6', 'rcp_3', 'rli_4', 'LAMP', 1, 'damaged', 'scrap', false),
 ('rcl_7', 'rcp_4', 'rli_5', 'CUP', 1, 'opened', 'restock', true),
 ('rcl_8', 'rcp_5', 'rli_6', 'POT', 2, 'new', 'restock', true);

INSERT INTO undeclared_item (id, receipt_id, return_id, sku, quantity, note, decision, line_id, decided_by, decided_at) VALUES
 ('und_1', 'rcp_1', 'ret_1', 'MÜTZE', 1, 'Surplus, new', NULL, NULL, NULL, NULL),
 ('und_2', 'rcp_3', 'ret_4', 'BOOK', 1, 'Not on this return, new', 'return_to_customer', NULL, 'usr_dock', '{at}');

INSERT INTO refund (id, payment_id, return_id, source, status, amount, currency, livemode, reason, note, breakdown, metadata, created_by, created_at, updated_at, generation, parameters, past_parameters, first_attempt_at, attempts, tries, ever_unknown, lookups_only, next_attempt_at, next_is_read, lease_until, lease_token, news, stripe_refund, failure, arrival, waits_for, superseded_at, superseded_by, duplicate_of, method, reference, stripe_created_at, waiting_code, waiting_detail) VALUES
 ('rfd_1', 'pay_1', 'ret_1', 'return', 'succeeded', 3333, 'usd', false, 'requested_by_customer', NULL, '[{"kind": "line", "line": "rli_1", "units": 1, "amount": 3333, "description": "Cap", "adjustment": false}]', '{}', 'usr_dock', '{at}', '{at}', 1, '{"payment_intent": "pi_1", "amount": 3333}', '[]', '{at}', 1, 0, false, false, NULL, false, NULL, 1, 2, 're_1', NULL, '{"kind": "acquirer_reference_number", "reference": "arn-1", "expected": null}', NULL, NULL, NULL, NULL, NULL, NULL, '{at}', NULL, NULL),
 ('rfd_2', 'pay_2', NULL, 'standalone', 'queued', 500, 'eur', false, NULL, 'goodwill', '[{"kind": "standalone", "line": null, "units": 0, "amount": 500, "description": "Refund", "adjustment": true}]', '{}', 'key_shop', '{at}', '{at}', 2, '{"payment_intent": "pi_2", "amount": 500}', '[{"ended_at": "{at}", "parameters": {}}]', NULL, 1, 0, false, false, '{at}', false, NULL, 1, 0, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, 'refused_for_now', 'Your balance is too low.'),
 ('rfd_3', 'pay_3', NULL, 'external', 'succeeded', 2000, 'usd', false, NULL, NULL, '[{"kind": "unallocated", "line": null, "units": 0, "amount": 2000, "description": "Refunded outside this service", "adjustment": false}]', '{}', 'stripe', '{at}', '{at}', 1, '{}', '[]', '{at}', 0, 0, false, false, NULL, false, NULL, 0, 1, 're_3', NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, '{at}', NULL, NULL),
 ('rfd_4', 'pay_4', 'ret_4', 'return', 'settled_outside', 4000, 'usd', false, NULL, NULL, '[{"kind": "line", "line": "rli_4", "units": 1, "amount": 4000, "description": "LAMP", "adjustment": false}]', '{}', 'usr_ben', '{at}', '{at}', 1, '{}', '[]', NULL, 0, 0, false, false, NULL, false, NULL, 0, 0, NULL, NULL, NULL, NULL, NULL, NULL, NULL, 'bank_transfer', 'wire-7', NULL, NULL, NULL),
 ('rfd_5', 'pay_4', 'ret_4', 'return', 'canceled', 4000, 'usd', false, NULL, NULL, '[{"kind": "line", "line": "rli_4", "units": 1, "amount": 4000, "description": "LAMP", "adjustment": false}]', '{}', 'usr_dock', '{at}', '{at}', 1, '{"payment_intent": "pi_4", "amount": 4000}', '[]', '{at}', 2, 0, true, false, NULL, false, NULL, 2, 3, 're_5', '{"code": "canceled", "message": "Canceled at Stripe."}', NULL, NULL, '{at}', 'rfd_4', NULL, NULL, NULL, '{at}', NULL, NULL),
 ('rfd_6', 'pay_4', NULL, 'external', 'succeeded', 5000, 'usd', false, NULL, NULL, '[{"kind": "unallocated", "line": null, "units": 0, "amount": 5000, "description": "Refunded outside this service", "adjustment": false}]', '{}', 'stripe', '{at}', '{at}', 1, '{}', '[]', '{at}', 0, 0, false, false, NULL, false, NULL, 0, 1, 're_6', NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, '{at}', NULL, NULL),
 ('rfd_7', 'pay_4', NULL, 'external', 'succeeded', 4000, 'usd', false, NULL, NULL, '[{"kind": "unallocated", "line": null, "units": 0, "amount": 4000, "description": "Refunded outside this service", "adjustment": false}]', '{"refund_id": "rfd_5"}', 'stripe', '{at}', '{at}', 1, '{}', '[]', '{at}', 0, 0, false, false, NULL, false, NULL, 0, 1, 're_7', NULL, NULL, NULL, NULL, NULL, 'rfd_5', NULL, NULL, '{at}', NULL, NULL),
 ('rfd_8', 'pay_5', 'ret_5', 'return', 'unknown', 3000, 'jpy', false, NULL, NULL, '[{"kind": "line", "line": "rli_5", "units": 1, "amount": 3000, "description": "CUP", "adjustment": false}]', '{}', 'usr_dock', '{at}', '{at}', 1, '{"charge": "py_5", "amount": 3000}', '[]', '{at}', 3, 1, true, true, '{at}', false, NULL, 3, 0, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, 'stored_error', NULL),
 ('rfd_9', 'pay_5', 'ret_6', 'return', 'failed', 2000, 'jpy', false, NULL, NULL, '[{"kind": "line", "line": "rli_6", "units": 1, "amount": 2000, "description": "POT", "adjustment": false}]', '{}', 'usr_dock', '{at}', '{at}', 1, '{"charge": "py_5", "amount": 2000}', '[]', '{at}', 1, 0, false, false, NULL, false, NULL, 1, 2, 're_9', '{"code": "lost_or_stolen_card", "message": "The card is lost or stolen.", "advice": "Settle it outside."}', NULL, NULL, NULL, NULL, NULL, NULL, NULL, '{at}', NULL, NULL),
 ('rfd_10', 'pay_5', 'ret_6', 'return', 'withdrawn', 2000, 'jpy', false, NULL, NULL, '[{"kind": "line", "line": "rli_6", "units": 1, "amount": 2000, "description": "POT", "adjustment": false}]', '{}', 'usr_dock', '{at}', '{at}', 1, '{"charge": "py_5", "amount": 2000}', '[]', NULL, 0, 0, false, false, NULL, false, NULL, 0, 0, NULL, '{"code": "canceled_before_sent", "message": "Canceled before it was sent."}', NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL),
 ('rfd_11', 'pay_1', NULL, 'standalone', 'pending', 100, 'usd', false, 'duplicate', NULL, '[{"kind": "standalone", "line": null, "units": 0, "amount": 100, "description": "Refund", "adjustment": true}]', '{}', 'key_shop', '{at}', '{at}', 1, '{"payment_intent": "pi_1", "amount": 100}', '[]', '{at}', 1, 0, false, false, '{at}', false, NULL, 1, 1, 're_11', NULL, NULL, 'The bank is processing it.', NULL, NULL, NULL, NULL, NULL, '{at}', NULL, NULL),
 ('rfd_12', 'pay_1', NULL, 'standalone', 'requires_action', 100, 'usd', false, NULL, NULL, '[{"kind": "standalone", "line": null, "units": 0, "amount": 100, "description": "Refund", "adjustment": true}]', '{}', 'key_shop', '{at}', '{at}', 1, '{"payment_intent": "pi_1", "amount": 100}', '[]', '{at}', 1, 0, false, false, '{at}', false, NULL, 1, 1, 're_12', NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, '{at}', 'customer_action', NULL),
 ('rfd_13', 'pay_1', NULL, 'standalone', 'submitted', 100, 'usd', false, NULL, NULL, '[{"kind": "standalone", "line": null, "units": 0, "amount": 100, "description": "Refund", "adjustment": true}]', '{}', 'key_shop', '{at}', '{at}', 1, '{"payment_intent": "pi_1", "amount": 100}', '[]', '{at}', 1, 0, false, false, '{at}', false, '{at}', 1, 0, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL);

INSERT INTO event (id, position, type, return_id, refund_id, payment_id, sequence, actor, request_id, data, created_at) VALUES
 ('evt_1', 1, 'return.created', 'ret_1', NULL, NULL, 1, 'key_shop', 'req_1', '{"from": null, "to": "requested"}', '{at}'),
 ('evt_2', 2, 'return.state_changed', 'ret_1', NULL, NULL, 2, 'usr_anna', 'req_2', '{"from": "requested", "to": "approved", "trigger": "approve"}', '{at}'),
 ('evt_3', 3, 'refund.created', 'ret_1', 'rfd_1', 'pay_1', 3, 'usr_dock', 'req_3', '{"object": {"id": "rfd_1", "status": "queued"}}', '{at}'),
 ('evt_4', NULL, 'payment.updated', NULL, NULL, 'pay_2', NULL, 'stripe', NULL, '{}', '{at}');

INSERT INTO stripe_event (id, type, payload, received_at, processed_at, outcome, error, attempts, next_attempt_at) VALUES
 ('evt_s1', 'refund.updated', '{"id": "evt_s1"}', '{at}', '{at}', 'folded', NULL, 1, NULL),
 ('evt_s2', 'refund.updated', '', '{at}', '{at}', 'unknown_payment', NULL, 1, NULL),
 ('evt_s3', 'charge.refunded', '{"id": "evt_s3"}', '{at}', NULL, 'failed', 'ValueError: a bug', 2, '{at}');

INSERT INTO idempotency_key (scope, "key", fingerprint, status, headers, body, created_at) VALUES
 ('key_1', 'k-1', 'f', 201, '{"Location": "/v1/returns/ret_1"}', '{"id": "ret_1"}', '{at}'),
 ('key_1', 'k-2', 'f', NULL, '{}', NULL, '{at}');

INSERT INTO api_key (id, name, secret_hash, scopes, created_at, expires_at, revoked_at, last_used_at) VALUES
 ('key_1', 'shop', 'h1', '["admin"]', '{at}', NULL, NULL, '{at}'),
 ('key_2', 'dock', 'h2', '["receipts:write"]', '{at}', '{at}', '{at}', NULL);

INSERT INTO staff_user (id, email, role, password_hash, created_at, disabled_at) VALUES
 ('usr_1', 'anna@example.com', 'approver', 'p', '{at}', NULL),
 ('usr_2', 'ben@example.com', 'finance', NULL, '{at}', '{at}');

INSERT INTO stripe_pace (id, writes_a_second, next_slot_at, slowed_at, failures, open_until, open_reason) VALUES
 (1, 12.5, '{at}', '{at}', 3, NULL, NULL);

INSERT INTO sweep (name, cursor, next_at, lease_until, done_at) VALUES
 ('events', 'evt_s3', '{at}', NULL, '{at}');

INSERT INTO webhook_endpoint (id, url, events, description, secret, status, created_at, old_secrets, position, disabled_at, disabled_reason, disabled_by, disabled_detail) VALUES
 ('whe_1', 'https://shop.example.com/hooks', '["*"]', 'the shop', 's1', 'enabled', '{at}', '[]', 3, NULL, NULL, NULL, NULL),
 ('whe_2', 'https://old.example.com/hooks', '["return.created"]', NULL, 's2', 'disabled', '{at}', '[]', 1, '{at}', NULL, 'http_gone', NULL),
 ('whe_3', 'https://odd.example.com/hooks', '["*"]', NULL, 's3', 'disabled', '{at}', '[]', 1, '{at}', 'In words of an older release.', NULL, NULL);

INSERT INTO delivery (id, event_id, endpoint_id, status, attempts, next_attempt_at, created_at, stream, position, reason, failures, failing_since, lease_token, ended_at) VALUES
 ('dlv_1', 'evt_1', 'whe_1', 'delivered', '[{"at": "2026-03-01T10:00:00Z", "status": 200, "error": null}]', NULL, '{at}', 'ret_1', 1, NULL, 0, NULL, 1, '{at}'),
 ('dlv_2', 'evt_2', 'whe_1', 'pending', '[]', '{at}', '{at}', 'ret_1', 2, NULL, 0, NULL, 0, NULL),
 ('dlv_3', 'evt_1', 'whe_2', 'dead', '[]', NULL, '{at}', 'ret_1', 1, 'It answered 410 Gone.', 1, '{at}', 1, '{at}');

INSERT INTO reconciliation_run (id, since, fix, started_by, phase, cursor, counts, differing, lease_until, created_at, finished_at) VALUES
 ('rec_1', '{at}', true, 'worker', 'done', NULL, '{}', 1, NULL, '{at}', '{at}'),
 ('rec_2', '{at}', false, 'usr_ben', 'stripe', 're_1', '{}', NULL, NULL, '{at}', NULL);

INSERT INTO reconciliation_difference (id, run_id, code, subject, differs, outcome, cause, advice, payment_intent, charge, stripe_refund, refund_id, return_id, currency, amount_here, amount_at_stripe, status_here, status_at_stripe, created_at) VALUES
 ('dif_1', 'rec_1', 'other_status', 're_9', true, 'left', 'Stripe says failed.', 'Look.', NULL, 'py_5', 're_9', 'rfd_9', 'ret_6', 'jpy', 2000, 2000, 'succeeded', 'failed', '{at}');
