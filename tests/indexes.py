"""Amazon S3 Vectors, as the owner of the vectors uses it."""

BUCKET = "demo"


class Indexes:
    """The indexes of one vector bucket, through a boto3 client."""

    def __init__(self, client):
        self.client = client

    def index(self, name, keys):
        """Creates an index that holds these objects."""
        self.client.create_index(
            vectorBucketName=BUCKET, indexName=name, dataType="float32", dimension=2, distanceMetric="cosine"
        )
        self.put(name, keys)

    def put(self, index, keys):
        """Inserts objects."""
        for start in range(0, len(keys), 500):
            vectors = [{"key": key, "data": {"float32": [0.5, 1.0]}} for key in keys[start : start + 500]]
            self.client.put_vectors(vectorBucketName=BUCKET, indexName=index, vectors=vectors)

    def present(self, index, keys):
        """Which of these objects the index holds."""
        found = set()
        for start in range(0, len(keys), 100):
            response = self.client.get_vectors(vectorBucketName=BUCKET, indexName=index, keys=keys[start : start + 100])
            found |= {vector["key"] for vector in response["vectors"]}
        return found
