CREATE TABLE study (
	id TEXT NOT NULL,
	title TEXT NOT NULL,
	seed TEXT NOT NULL,
	status TEXT NOT NULL,
	is_demo INTEGER NOT NULL,
	config_json TEXT NOT NULL,
	config_sha256 TEXT,
	key_sha256 TEXT,
	key_nonce TEXT,
	votes_per_pair INTEGER NOT NULL,
	created_at TEXT NOT NULL,
	opened_at TEXT,
	closed_at TEXT,
	CONSTRAINT pk_study PRIMARY KEY (id),
	CONSTRAINT ck_study_id_is_hex CHECK (id ~ '^[0-9a-f]{12}$'),
	CONSTRAINT ck_study_status_known CHECK (status IN ('draft', 'open', 'paused', 'closed')),
	CONSTRAINT ck_study_is_demo_is_flag CHECK (is_demo IN (0, 1)),
	CONSTRAINT ck_study_config_json_is_json CHECK (config_json IS NULL OR (config_json::json) IS NOT NULL),
	CONSTRAINT ck_study_config_sha256_is_hex CHECK (config_sha256 ~ '^[0-9a-f]{64}$'),
	CONSTRAINT ck_study_key_sha256_is_hex CHECK (key_sha256 ~ '^[0-9a-f]{64}$'),
	CONSTRAINT ck_study_key_nonce_is_hex CHECK (key_nonce ~ '^[0-9a-f]{32}$'),
	CONSTRAINT ck_study_votes_per_pair_positive CHECK (votes_per_pair > 0),
	CONSTRAINT ck_study_title_length CHECK (length(title) BETWEEN 1 AND 200),
	CONSTRAINT ck_study_frozen_has_hash CHECK ((status = 'draft') = (config_sha256 IS NULL)),
	CONSTRAINT ck_study_frozen_is_dated CHECK ((status = 'draft') = (opened_at IS NULL)),
	CONSTRAINT ck_study_closed_is_dated CHECK ((status = 'closed') = (closed_at IS NOT NULL))
)
;
CREATE TABLE arm (
	id SERIAL NOT NULL,
	study_id TEXT NOT NULL,
	code TEXT NOT NULL,
	role TEXT NOT NULL,
	name TEXT,
	method TEXT,
	reward TEXT,
	base_model TEXT,
	adapter_sha256 TEXT,
	params_json TEXT,
	CONSTRAINT pk_arm PRIMARY KEY (id),
	CONSTRAINT fk_arm_study_id FOREIGN KEY(study_id) REFERENCES study (id),
	CONSTRAINT uq_arm_id_study_id UNIQUE (id, study_id),
	CONSTRAINT uq_arm_study_id_code UNIQUE (study_id, code),
	CONSTRAINT uq_arm_study_id_name UNIQUE (study_id, name),
	CONSTRAINT ck_arm_role_known CHECK (role IN ('compared', 'damaged')),
	CONSTRAINT ck_arm_code_is_hex CHECK (code ~ '^[0-9a-f]{8}$'),
	CONSTRAINT ck_arm_adapter_sha256_is_hex CHECK (adapter_sha256 ~ '^[0-9a-f]{64}$'),
	CONSTRAINT ck_arm_params_json_is_json CHECK (params_json IS NULL OR (params_json::json) IS NOT NULL)
)
;
CREATE TABLE prompt (
	id SERIAL NOT NULL,
	study_id TEXT NOT NULL,
	source TEXT NOT NULL,
	source_row INTEGER NOT NULL,
	category TEXT NOT NULL,
	text TEXT NOT NULL,
	CONSTRAINT pk_prompt PRIMARY KEY (id),
	CONSTRAINT fk_prompt_study_id FOREIGN KEY(study_id) REFERENCES study (id),
	CONSTRAINT uq_prompt_id_study_id UNIQUE (id, study_id),
	CONSTRAINT uq_prompt_study_id_source_source_row UNIQUE (study_id, source, source_row),
	CONSTRAINT uq_prompt_study_id_text UNIQUE (study_id, text),
	CONSTRAINT ck_prompt_text_length CHECK (length(text) BETWEEN 1 AND 4000)
)
;
CREATE TABLE question (
	study_id TEXT NOT NULL,
	key TEXT NOT NULL,
	text TEXT NOT NULL,
	show_prompt INTEGER NOT NULL,
	allow_tie INTEGER NOT NULL,
	position INTEGER NOT NULL,
	CONSTRAINT pk_question PRIMARY KEY (study_id, key),
	CONSTRAINT fk_question_study_id FOREIGN KEY(study_id) REFERENCES study (id),
	CONSTRAINT uq_question_study_id_position UNIQUE (study_id, position),
	CONSTRAINT ck_question_show_prompt_is_flag CHECK (show_prompt IN (0, 1)),
	CONSTRAINT ck_question_allow_tie_is_flag CHECK (allow_tie IN (0, 1)),
	CONSTRAINT ck_question_position_not_negative CHECK (position >= 0),
	CONSTRAINT ck_question_text_length CHECK (length(text) BETWEEN 1 AND 500)
)
;
CREATE TABLE rater (
	id SERIAL NOT NULL,
	study_id TEXT NOT NULL,
	number INTEGER NOT NULL,
	source TEXT NOT NULL,
	ext_hmac TEXT,
	token_sha256 TEXT NOT NULL,
	consent_version TEXT,
	consented_at TEXT,
	status TEXT NOT NULL,
	completion_code TEXT,
	created_at TEXT NOT NULL,
	CONSTRAINT pk_rater PRIMARY KEY (id),
	CONSTRAINT fk_rater_study_id FOREIGN KEY(study_id) REFERENCES study (id),
	CONSTRAINT uq_rater_study_id_number UNIQUE (study_id, number),
	CONSTRAINT uq_rater_study_id_source_ext_hmac UNIQUE (study_id, source, ext_hmac),
	CONSTRAINT uq_rater_token_sha256 UNIQUE (token_sha256),
	CONSTRAINT uq_rater_id_study_id UNIQUE (id, study_id),
	CONSTRAINT ck_rater_source_known CHECK (source IN ('local', 'link', 'prolific', 'mturk', 'hf', 'pilot', 'demo', 'simulated')),
	CONSTRAINT ck_rater_status_known CHECK (status IN ('active', 'complete', 'screened_out', 'withdrawn')),
	CONSTRAINT ck_rater_ext_hmac_is_hex CHECK (ext_hmac ~ '^[0-9a-f]{64}$'),
	CONSTRAINT ck_rater_token_sha256_is_hex CHECK (token_sha256 ~ '^[0-9a-f]{64}$'),
	CONSTRAINT ck_rater_number_positive CHECK (number > 0),
	CONSTRAINT ck_rater_consent_is_dated CHECK ((consent_version IS NULL) = (consented_at IS NULL))
)
;
CREATE TABLE block (
	id SERIAL NOT NULL,
	study_id TEXT NOT NULL,
	number INTEGER NOT NULL,
	origin TEXT NOT NULL,
	rater_id INTEGER,
	taken_at TEXT,
	CONSTRAINT pk_block PRIMARY KEY (id),
	CONSTRAINT fk_block_study_id FOREIGN KEY(study_id) REFERENCES study (id),
	CONSTRAINT fk_block_rater_id_study_id FOREIGN KEY(rater_id, study_id) REFERENCES rater (id, study_id),
	CONSTRAINT uq_block_study_id_number UNIQUE (study_id, number),
	CONSTRAINT uq_block_rater_id UNIQUE (rater_id),
	CONSTRAINT uq_block_id_study_id UNIQUE (id, study_id),
	CONSTRAINT uq_block_id_rater_id UNIQUE (id, rater_id),
	CONSTRAINT ck_block_origin_known CHECK (origin IN ('planned', 'repair', 'pilot')),
	CONSTRAINT ck_block_taken_is_dated CHECK ((rater_id IS NULL) = (taken_at IS NULL))
)
;
CREATE TABLE image (
	id SERIAL NOT NULL,
	study_id TEXT NOT NULL,
	arm_id INTEGER NOT NULL,
	prompt_id INTEGER NOT NULL,
	seed BIGINT NOT NULL,
	picture_id TEXT NOT NULL,
	sha256 TEXT NOT NULL,
	width INTEGER NOT NULL,
	height INTEGER NOT NULL,
	CONSTRAINT pk_image PRIMARY KEY (id),
	CONSTRAINT fk_image_arm_id_study_id FOREIGN KEY(arm_id, study_id) REFERENCES arm (id, study_id),
	CONSTRAINT fk_image_prompt_id_study_id FOREIGN KEY(prompt_id, study_id) REFERENCES prompt (id, study_id),
	CONSTRAINT uq_image_arm_id_prompt_id_seed UNIQUE (arm_id, prompt_id, seed),
	CONSTRAINT uq_image_id_arm_id_prompt_id_seed_study_id UNIQUE (id, arm_id, prompt_id, seed, study_id),
	CONSTRAINT uq_image_picture_id UNIQUE (picture_id),
	CONSTRAINT ck_image_picture_id_is_hex CHECK (picture_id ~ '^[0-9a-f]{32}$'),
	CONSTRAINT ck_image_sha256_is_hex CHECK (sha256 ~ '^[0-9a-f]{64}$'),
	CONSTRAINT ck_image_seed_not_negative CHECK (seed >= 0),
	CONSTRAINT ck_image_size_positive CHECK (width > 0 AND height > 0)
)
;
CREATE TABLE payment (
	rater_id INTEGER NOT NULL,
	external_id TEXT NOT NULL,
	CONSTRAINT pk_payment PRIMARY KEY (rater_id),
	CONSTRAINT fk_payment_rater_id FOREIGN KEY(rater_id) REFERENCES rater (id),
	CONSTRAINT ck_payment_external_id_length CHECK (length(external_id) BETWEEN 1 AND 200)
)
;
CREATE TABLE pair (
	id SERIAL NOT NULL,
	study_id TEXT NOT NULL,
	prompt_id INTEGER NOT NULL,
	seed BIGINT NOT NULL,
	arm_a INTEGER NOT NULL,
	arm_b INTEGER NOT NULL,
	image_a INTEGER NOT NULL,
	image_b INTEGER NOT NULL,
	kind TEXT NOT NULL,
	expected TEXT,
	target INTEGER,
	issued INTEGER NOT NULL,
	struck TEXT,
	CONSTRAINT pk_pair PRIMARY KEY (id),
	CONSTRAINT fk_pair_image_a_arm_a_prompt_id_seed_study_id FOREIGN KEY(image_a, arm_a, prompt_id, seed, study_id) REFERENCES image (id, arm_id, prompt_id, seed, study_id),
	CONSTRAINT fk_pair_image_b_arm_b_prompt_id_seed_study_id FOREIGN KEY(image_b, arm_b, prompt_id, seed, study_id) REFERENCES image (id, arm_id, prompt_id, seed, study_id),
	CONSTRAINT uq_pair_image_a_image_b UNIQUE (image_a, image_b),
	CONSTRAINT uq_pair_id_study_id UNIQUE (id, study_id),
	CONSTRAINT ck_pair_kind_known CHECK (kind IN ('main', 'check', 'practice')),
	CONSTRAINT ck_pair_arms_ordered CHECK (arm_a < arm_b),
	CONSTRAINT ck_pair_expected_is_side CHECK (expected IN ('a', 'b')),
	CONSTRAINT ck_pair_check_has_answer CHECK ((kind = 'check') = (expected IS NOT NULL)),
	CONSTRAINT ck_pair_main_has_target CHECK ((kind = 'main') = (target IS NOT NULL)),
	CONSTRAINT ck_pair_target_positive CHECK (target > 0),
	CONSTRAINT ck_pair_issued_within_target CHECK (issued >= 0 AND issued <= coalesce(target, 0)),
	CONSTRAINT ck_pair_struck_has_reason CHECK (length(struck) BETWEEN 1 AND 500)
)
;
CREATE TABLE score (
	image_id INTEGER NOT NULL,
	reward TEXT NOT NULL,
	value DOUBLE PRECISION NOT NULL,
	CONSTRAINT pk_score PRIMARY KEY (image_id, reward),
	CONSTRAINT fk_score_image_id FOREIGN KEY(image_id) REFERENCES image (id)
)
;
CREATE TABLE slot (
	block_id INTEGER NOT NULL,
	position INTEGER NOT NULL,
	study_id TEXT NOT NULL,
	pair_id INTEGER NOT NULL,
	rep INTEGER NOT NULL,
	left_is TEXT NOT NULL,
	CONSTRAINT pk_slot PRIMARY KEY (block_id, position),
	CONSTRAINT fk_slot_block_id_study_id FOREIGN KEY(block_id, study_id) REFERENCES block (id, study_id),
	CONSTRAINT fk_slot_pair_id_study_id FOREIGN KEY(pair_id, study_id) REFERENCES pair (id, study_id),
	CONSTRAINT uq_slot_block_id_pair_id_rep UNIQUE (block_id, pair_id, rep),
	CONSTRAINT uq_slot_block_id_pair_id_left_is UNIQUE (block_id, pair_id, left_is),
	CONSTRAINT uq_slot_block_id_position_pair_id_rep_left_is UNIQUE (block_id, position, pair_id, rep, left_is),
	CONSTRAINT ck_slot_left_is_known CHECK (left_is IN ('a', 'b')),
	CONSTRAINT ck_slot_rep_is_flag CHECK (rep IN (0, 1)),
	CONSTRAINT ck_slot_position_not_negative CHECK (position >= 0)
)
;
CREATE TABLE trial (
	id SERIAL NOT NULL,
	public_id TEXT NOT NULL,
	study_id TEXT NOT NULL,
	rater_id INTEGER NOT NULL,
	block_id INTEGER NOT NULL,
	position INTEGER NOT NULL,
	pair_id INTEGER NOT NULL,
	rep INTEGER NOT NULL,
	left_is TEXT NOT NULL,
	state TEXT NOT NULL,
	issued_at TEXT NOT NULL,
	lease_until TEXT NOT NULL,
	shown_at TEXT,
	done_at TEXT,
	CONSTRAINT pk_trial PRIMARY KEY (id),
	CONSTRAINT fk_trial_rater_id_study_id FOREIGN KEY(rater_id, study_id) REFERENCES rater (id, study_id),
	CONSTRAINT fk_trial_pair_id_study_id FOREIGN KEY(pair_id, study_id) REFERENCES pair (id, study_id),
	CONSTRAINT fk_trial_block_id_rater_id FOREIGN KEY(block_id, rater_id) REFERENCES block (id, rater_id),
	CONSTRAINT fk_trial_block_id_position_pair_id_rep_left_is FOREIGN KEY(block_id, position, pair_id, rep, left_is) REFERENCES slot (block_id, position, pair_id, rep, left_is),
	CONSTRAINT uq_trial_public_id UNIQUE (public_id),
	CONSTRAINT uq_trial_rater_id_pair_id_rep UNIQUE (rater_id, pair_id, rep),
	CONSTRAINT uq_trial_rater_id_position UNIQUE (rater_id, position),
	CONSTRAINT uq_trial_id_study_id UNIQUE (id, study_id),
	CONSTRAINT ck_trial_state_known CHECK (state IN ('issued', 'done', 'skipped', 'expired')),
	CONSTRAINT ck_trial_left_is_known CHECK (left_is IN ('a', 'b')),
	CONSTRAINT ck_trial_public_id_is_hex CHECK (public_id ~ '^[0-9a-f]{32}$'),
	CONSTRAINT ck_trial_done_is_dated CHECK ((state = 'done') = (done_at IS NOT NULL))
)
;
CREATE INDEX ix_trial_pair_id ON trial (pair_id)
;
CREATE UNIQUE INDEX uq_trial_one_open_per_rater ON trial (rater_id) WHERE state = 'issued'
;
CREATE TABLE event (
	id SERIAL NOT NULL,
	study_id TEXT NOT NULL,
	at TEXT NOT NULL,
	rater_id INTEGER,
	trial_id INTEGER,
	kind TEXT NOT NULL,
	data_json TEXT NOT NULL,
	CONSTRAINT pk_event PRIMARY KEY (id),
	CONSTRAINT fk_event_study_id FOREIGN KEY(study_id) REFERENCES study (id),
	CONSTRAINT fk_event_rater_id_study_id FOREIGN KEY(rater_id, study_id) REFERENCES rater (id, study_id),
	CONSTRAINT fk_event_trial_id_study_id FOREIGN KEY(trial_id, study_id) REFERENCES trial (id, study_id),
	CONSTRAINT ck_event_data_json_is_json CHECK (data_json IS NULL OR (data_json::json) IS NOT NULL),
	CONSTRAINT ck_event_kind_length CHECK (length(kind) BETWEEN 1 AND 40)
)
;
CREATE TABLE exclusion (
	id SERIAL NOT NULL,
	study_id TEXT NOT NULL,
	rater_id INTEGER,
	trial_id INTEGER,
	rule TEXT NOT NULL,
	created_at TEXT NOT NULL,
	CONSTRAINT pk_exclusion PRIMARY KEY (id),
	CONSTRAINT fk_exclusion_rater_id_study_id FOREIGN KEY(rater_id, study_id) REFERENCES rater (id, study_id),
	CONSTRAINT fk_exclusion_trial_id_study_id FOREIGN KEY(trial_id, study_id) REFERENCES trial (id, study_id),
	CONSTRAINT uq_exclusion_rater_id_rule UNIQUE (rater_id, rule),
	CONSTRAINT uq_exclusion_trial_id_rule UNIQUE (trial_id, rule),
	CONSTRAINT ck_exclusion_excludes_one_thing CHECK ((rater_id IS NULL) <> (trial_id IS NULL)),
	CONSTRAINT ck_exclusion_rule_length CHECK (length(rule) BETWEEN 1 AND 100)
)
;
CREATE TABLE vote (
	id SERIAL NOT NULL,
	study_id TEXT NOT NULL,
	trial_id INTEGER NOT NULL,
	question_key TEXT NOT NULL,
	choice TEXT NOT NULL,
	raw_side TEXT NOT NULL,
	tie_reason TEXT,
	rt_ms INTEGER NOT NULL,
	viewport_width INTEGER,
	viewport_height INTEGER,
	picture_size INTEGER,
	created_at TEXT NOT NULL,
	CONSTRAINT pk_vote PRIMARY KEY (id),
	CONSTRAINT fk_vote_trial_id_study_id FOREIGN KEY(trial_id, study_id) REFERENCES trial (id, study_id),
	CONSTRAINT fk_vote_study_id_question_key FOREIGN KEY(study_id, question_key) REFERENCES question (study_id, key),
	CONSTRAINT uq_vote_trial_id_question_key UNIQUE (trial_id, question_key),
	CONSTRAINT ck_vote_choice_known CHECK (choice IN ('a', 'b', 'tie')),
	CONSTRAINT ck_vote_raw_side_known CHECK (raw_side IN ('left', 'right', 'tie')),
	CONSTRAINT ck_vote_tie_reason_known CHECK (tie_reason IN ('both_good', 'both_bad')),
	CONSTRAINT ck_vote_reason_needs_tie CHECK (tie_reason IS NULL OR choice = 'tie'),
	CONSTRAINT ck_vote_rt_ms_range CHECK (rt_ms BETWEEN 0 AND 86400000),
	CONSTRAINT ck_vote_screen_positive CHECK (viewport_width > 0 AND viewport_height > 0 AND picture_size > 0)
)
;
