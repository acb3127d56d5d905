-- Make a stored file a queued document. Gives its id, or the id of the document that the same uploader has of the same content
-- in the collection; nothing when the row that was made before the file arrived has been given up meanwhile.
-- Locks: the document's row, then the entry of index documents_content, on which equal uploads wait for one another.
CREATE FUNCTION knowledge.register_v1(
    of_tenant bigint, new_id uuid, of_collection uuid, new_title text, new_filename text, new_media_type text,
    new_size_bytes bigint, new_sha256 text, new_blob_key text, uploader uuid
) RETURNS TABLE (document_id uuid, created boolean)
LANGUAGE plpgsql VOLATILE SECURITY INVOKER SET search_path = pg_catalog
AS $$
DECLARE
    existing uuid;
BEGIN
    LOOP
        BEGIN
            INSERT INTO knowledge.documents AS d
                (id, tenant_id, collection_id, title, filename, media_type, size_bytes, sha256, blob_key, uploaded_by)
            VALUES (new_id, of_tenant, of_collection, new_title, new_filename, new_media_type, new_size_bytes, new_sha256,
                    new_blob_key, uploader)
            ON CONFLICT (id) DO UPDATE
            SET collection_id = of_collection, title = new_title, filename = new_filename, media_type = new_media_type,
                size_bytes = new_size_bytes, sha256 = new_sha256, blob_key = new_blob_key, uploaded_by = uploader,
                status = 'queued', queued_at = now(), not_before = now(), updated_at = now()
            WHERE d.tenant_id = of_tenant AND d.status = 'receiving' AND d.deleted_at IS NULL;
            IF FOUND THEN
                RETURN QUERY SELECT new_id, true;
            END IF;
            RETURN;
        EXCEPTION WHEN unique_violation THEN
            SELECT d.id INTO existing FROM knowledge.documents d
            WHERE d.tenant_id = of_tenant AND d.collection_id = of_collection AND d.uploaded_by IS NOT DISTINCT FROM uploader
              AND d.sha256 = new_sha256 AND d.status <> 'receiving' AND d.deleted_at IS NULL;
            IF FOUND THEN
                RETURN QUERY SELECT existing, false;
                RETURN;
            END IF;
            -- deleted between the two statements: the next turn stores it
        END;
    END LOOP;
END
$$;
