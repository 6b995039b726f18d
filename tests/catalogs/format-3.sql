-- A catalog of format 3 as it was written then: two items, and a third that was added and removed.
PRAGMA page_size = 8192;
PRAGMA auto_vacuum = INCREMENTAL;
PRAGMA application_id = 1886156147;
PRAGMA user_version = 3;
BEGIN TRANSACTION;
CREATE TABLE catalog (
        one INTEGER PRIMARY KEY CHECK (one = 1),
        id BLOB NOT NULL,
        compacted INTEGER NOT NULL,
        removals INTEGER NOT NULL
    ) STRICT;
INSERT INTO catalog VALUES(1,X'AD43FF65ACC3B1501D412F9A5C446A1A',0,1);
CREATE TABLE items (
        item INTEGER PRIMARY KEY AUTOINCREMENT,
        id TEXT NOT NULL UNIQUE,
        label TEXT,
        text TEXT,
        metadata TEXT NOT NULL,
        added INTEGER NOT NULL
    ) STRICT;
INSERT INTO items VALUES(1,'bear','bear','a red bear','{"price":12.5,"颜色":"红"}',1700000000);
INSERT INTO items VALUES(3,'兔子',NULL,NULL,'{}',1700000000);
CREATE TABLE models (
        model INTEGER PRIMARY KEY,
        name TEXT NOT NULL UNIQUE,
        fingerprint TEXT NOT NULL,
        dim INTEGER NOT NULL,
        -- Of models that run on a server: its vectors of a fixed picture and text.
        probe_image BLOB,
        probe_text BLOB
    ) STRICT;
INSERT INTO models VALUES(1,'toy','{fingerprint}',6,NULL,NULL);
CREATE TABLE refs (
        reference INTEGER PRIMARY KEY AUTOINCREMENT,
        item INTEGER NOT NULL REFERENCES items ON DELETE CASCADE,
        name TEXT NOT NULL,
        digest BLOB NOT NULL,
        view INTEGER NOT NULL,
        added INTEGER NOT NULL,
        UNIQUE (item, digest, view)
    ) STRICT;
INSERT INTO refs VALUES(1,1,'image 0 (array)',X'58C6EA99B43406CEE43EC0FA3D1F38CAAEAB10DD406D9BA706413DEDC92AD4C2',0,1700000000);
INSERT INTO refs VALUES(2,1,'image 1 (array)',X'07282772C06F13514AE0FAEDD9CC04655EE6EC17B4E21815520590496E46827F',0,1700000000);
INSERT INTO refs VALUES(4,3,'image 0 (array)',X'999DF5AF0E9F58DDC7194B2F0022EC2615D6FAB6319E11DED8CFE885653DED48',0,1700000000);
CREATE TABLE settings (
        key TEXT PRIMARY KEY,
        value TEXT NOT NULL
    ) STRICT;
CREATE TABLE vectors (
        sequence INTEGER PRIMARY KEY AUTOINCREMENT,
        reference INTEGER NOT NULL,
        item INTEGER NOT NULL,
        model INTEGER REFERENCES models,
        vector BLOB, checksum INTEGER,
        CHECK ((model IS NULL) = (vector IS NULL))
    ) STRICT;
INSERT INTO vectors VALUES(1,1,1,1,X'0C1243BE53631BBFC946AABE23086DBDC645043F050DED3E',3334096712232702988);
INSERT INTO vectors VALUES(2,2,1,1,X'AF61BC3E291BDA3EC32CB13E6A4CB33EFCE711BFD155AEBE',-8664391501498407361);
INSERT INTO vectors VALUES(4,4,3,1,X'3CFA6E3EDA5A343F20BD443C9ABB05BFE0DBD6BE29DCF6BB',-2217557134895321862);
INSERT INTO vectors VALUES(5,3,2,NULL,NULL,NULL);
CREATE INDEX items_by_label ON items (label) WHERE label IS NOT NULL;
CREATE UNIQUE INDEX vectors_by_reference ON vectors (reference, model) WHERE vector IS NOT NULL;
CREATE INDEX removals ON vectors (sequence) WHERE vector IS NULL;
DELETE FROM sqlite_sequence;
INSERT INTO sqlite_sequence VALUES('items',9);
INSERT INTO sqlite_sequence VALUES('vectors',5);
INSERT INTO sqlite_sequence VALUES('refs',7);
COMMIT;
